# What Docker has of ours, without what changes by itself: a line for each network and for each setting
# of a container, `network …` or `container …`, sorted. Prints nothing where Docker does not answer.
# Prelude: look/docker_api.pl
# Docker prints the keys of a map in order, and no blanks between values. The address that it chose for a
# container may change at a restart; a fixed one is in IPAMConfig. The guard keeps these lines in files
# and may print them, so they have the container's id instead of the values of its variables and of its
# settings, which Docker cannot change.

# Unrolled, because perl counts no more than 65,535 repetitions of a group.
my $string = qr/"[^"\\]*+(?:\\.[^"\\]*+)*+"/;
my $value = qr/(?<value>$string|\[(?:(?&value)|,)*+\]|\{(?:(?&value)|[,:])*+\}|[^\[\]{}",:]++)/;
my @lines;

sub members { # of a JSON object: its values by key
  my $json = $_[0] // '';
  my %members;
  while ($json =~ /\G[{,](?<key>$string):(?<whole>$value)/gc) {
    my ($key, $whole) = ($+{key}, $+{whole});
    $members{substr($key, 1, -1)} = $whole;
  }
  # Half of an object must not pass for the whole: Docker's answer is not understood then.
  exit 1 unless $json =~ /\G\}$/ or $json =~ /^(\{\}|null)?$/;
  return \%members;
}
sub elements { # of a JSON array
  my ($json) = @_;
  my @elements;
  while ($json =~ /\G[\[,](?<whole>$value)/gc) { push @elements, $+{whole} }
  return @elements;
}
sub note { push @lines, join(' ', map { $_ // '' } @_) }

for (elements(get_ours('/networks?'))) {
  my $network = members($_);
  my $ranges = members($network->{IPAM})->{Config};
  note('network', @$network{qw(Name Driver)}, $ranges, @$network{qw(Options Labels)});
}
for my $id (get_ours('/containers/json?all=1&') =~ /"Id":"([0-9a-f]{64})"/g) {
  my ($status, $json) = ask("/containers/$id/json");
  next if $status == 404; # it has ended meanwhile
  if ($status != 200) { note('container', $id, $status); next }
  my $container = members($json);
  my ($name, @parts) = @$container{qw(Name State Config HostConfig NetworkSettings)};
  my ($state, $config, $of_host, $networks) = map { members($_) } @parts;
  note('container', $name, @$config{qw(Image Cmd Labels)});
  note('container', $name, $id) if $config->{Labels} =~ /"provision\.(env|settings)":/;
  note('container', $name, $state->{Status}, @$of_host{qw(NetworkMode RestartPolicy)});
  note('container', $name, @$of_host{qw(Binds PortBindings)});
  my $ends = members($networks->{Networks});
  for (keys %$ends) {
    my $wanted = members($ends->{$_})->{IPAMConfig} // '';
    note('container', $name, $_, $wanted =~ /^\{/ ? members($wanted)->{IPv4Address} : '');
  }
  # The MAC of the inventory. Another one is not printed: Docker may choose it anew at each start.
  my ($mac) = $config->{Labels} =~ /"provision\.mac":"([^"]*)"/;
  my ($network) = ($of_host->{NetworkMode} // '') =~ /^"(.*)"$/;
  my $end = members($ends->{$network // ''})->{MacAddress} // '""';
  next unless defined $mac and $end ne '""';
  note('container', $name, lc $end eq qq("$mac") ? "has $mac" : "lacks $mac");
}
print map { "$_\n" } sort @lines;
