# Tests, restores or removes the static routes of one network of an inventory.
# Arguments: VERB PROTOCOL FOLDER INVENTORY [FILE]. FOLDER holds the claims: INVENTORY/routes/NETWORK
# with a row for each route, or, of version 0.1.0, INVENTORY/routes/ADDRESS_LENGTH for one route.
# FILE or else stdin: the rows, as a claim has them: DESTINATION [via GATEWAY] dev INTERFACE
# [onlink], or `DESTINATION lost` for a route that is claimed only.
# VERB is `foreign`: print a message for each destination that has a route of others, and succeed if
# there is one; `restore`: make the routes that the kernel lacks, by the interface that has the address
# in the range of the gateway now (another inventory may have moved it to a bridge); `remove`: remove those to the
# destinations. The latter two leave a route of others alone, and report it in a line `@note`.

use strict; use warnings;

my ($verb, $protocol, $folder, $inventory, @file) = @ARGV;
@ARGV = @file; # <> reads the file, or else stdin
!@file or -r $file[0] or die "$file[0] cannot be read\n";
my %rows = map { chomp; /^(\S+) / ? ($1 => $_) : () } <>;
my @destinations = sort keys %rows;

# The ranges of the host's interfaces: first and last address, length, and interface of each.
my @ranges;
sub number { unpack 'N', pack 'C4', split /\./, shift }

# The routes of the main table to these destinations. -N: names of protocols differ by the
# rt_protos of the host. -o: a route with several gateways is one line.
sub existing {
  my %routes;
  open my $table, '-|', qw(ip -N -4 -o route show table main) or die "ip: $!\n";
  while (my $line = <$table>) {
    # A type before the destination, such as `blackhole`, is a number with -N.
    my ($address, $length) = $line =~ m{^(?:\S+ )?([0-9]+\.[0-9.]+)(/[0-9]+)?\s} or next;
    # The kernel makes such a route with an address. 253 is RT_SCOPE_LINK.
    if ($line =~ / dev (\S+) proto 2 scope 253 / and $length) {
      my $size = 2 ** (32 - substr $length, 1);
      push @ranges, [number($address), number($address) + $size - 1, $size, $1];
    }
    my $destination = $address . ($length // '/32');
    next unless exists $rows{$destination};
    my ($number) = $line =~ / proto (\S+)/;
    my ($via) = $line =~ / ((?:via \S+ )?dev \S+)/;
    my $row = "$destination " . ($via // '') . ($line =~ / onlink\b/ ? ' onlink' : '');
    push @{$routes{$destination}}, {row => $row, ours => ($number // '') eq $protocol};
  }
  close $table or die "the routes of the host cannot be read\n";
  return \%routes;
}

# The inventories that claim each destination.
sub claims {
  my %owners;
  for my $path (glob "$folder/*/routes/*") {
    my ($owner, $name) = $path =~ m{([^/]+)/routes/([^/]+)$} or next;
    next unless -f $path;
    if ($name =~ /^([0-9.]+)_([0-9]+)$/) { $owners{"$1/$2"}{$owner} = 1; next }
    open my $claim, '<', $path or next;
    while (<$claim>) { $owners{$1}{$owner} = 1 if /^(\S+) / }
  }
  return \%owners;
}

# A route with our protocol number belongs to the inventory that claims it. A route that nobody
# claims (its claim was deleted), or that others claim, too, is ours if it is the same.
sub foreign {
  my ($routes, $owners) = @_;
  my %foreign;
  for my $destination (@destinations) {
    my @existing = @{$routes->{$destination} // []} or next;
    my $claims = $owners->{$destination} // {};
    my @marked = grep { $_->{ours} } @existing;
    my $ours = $claims->{$inventory};
    next if @marked and $ours and keys %$claims == 1;
    next if ($ours or !%$claims) and grep { $_->{row} eq $rows{$destination} } @marked;
    $foreign{$destination} = 1;
  }
  return \%foreign;
}

# -force: one route that the kernel refuses does not keep the others from being made.
sub batch {
  return unless @_;
  open my $ip, '|-', qw(ip -4 -force -batch -) or die "ip: $!\n";
  print $ip map { "$_\n" } @_;
  close $ip;
}

my $routes = existing();
my $foreign = foreign($routes, claims());
if ($verb eq 'foreign') {
  print "route $_ exists outside this inventory\n" for sort keys %$foreign;
  exit !%$foreign;
}
print "\@note route $_ was left: it is not of this inventory\n" for sort keys %$foreign;
my @own = grep { !$foreign->{$_} } @destinations;

# The destinations of ours whose row the kernel does not have.
sub lacking {
  my ($routes) = @_;
  return grep {
    my $row = $rows{$_};
    $row =~ / (?:via|dev) / and !grep { $_->{ours} && $_->{row} eq $row } @{$routes->{$_} // []};
  } @own;
}

# The row by the interface in whose range the gateway is; the row itself if there is none, or its own
# interface is one.
sub by_present_interface {
  my ($row) = @_;
  my ($gateway, $interface) = $row =~ m{ via ([0-9.]+) dev (\S+)$} or return $row;
  my $address = number($gateway);
  my @near = sort { $a->[2] <=> $b->[2] }
    grep { $_->[0] <= $address and $address <= $_->[1] } @ranges;
  return $row if !@near or grep { $_->[3] eq $interface } @near;
  $row =~ s/\S+$/$near[0][3]/;
  return $row;
}

if ($verb eq 'restore') {
  $rows{$_} = by_present_interface($rows{$_}) for keys %rows;
  # An existing route is left alone: `replace` would notify whoever watches the routing table.
  batch(map { "route replace $rows{$_} proto $protocol" } lacking($routes));
  $routes = existing();
  my @missing = lacking($routes);
  die map { "cannot make the route $rows{$_}\n" } @missing if @missing;
} else {
  # One line for each route: there are several if they have other metrics.
  batch(map { my $to = $_; map { "route del $to proto $protocol" }
    grep { $_->{ours} } @{$routes->{$to} // []} } @own);
  $routes = existing();
  my @left = grep { grep { $_->{ours} } @{$routes->{$_} // []} } @own;
  die map { "cannot remove the route $_\n" } @left if @left;
}
