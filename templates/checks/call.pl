# Checks the way from this network namespace to all others of its network at once: small pings,
# pings that fill the MTU and may not be split, and TCP with data that has to come back unchanged.
# Arguments: name, bytes of the largest packet, bytes of data, seconds, then name, address and
# port of each target. Prints `answer <check> <from> <to> <status> <text>` for each check.

use strict; use warnings; use Socket; use Fcntl; use Errno;
$| = 1;
my ($from, $mtu, $size, $patience, @rest) = @ARGV;
my @targets;
while (@rest) { my ($name, $address, $port) = splice(@rest, 0, 3); push @targets, { name => $name, address => $address, port => $port } }
sub answer { my ($check, $target, $status, $text) = @_; $text =~ s/\s+/ /g; print "answer $check $from $target->{name} $status $text\n" }
sub ready { my ($bits, $seconds) = @_; my $found = select($bits, undef, undef, $seconds); return $found > 0 }

socket(my $icmp, PF_INET, SOCK_RAW, 1) or die "socket: $!";
setsockopt($icmp, SOL_SOCKET, SO_RCVBUF, pack('l', 4194304));
my $id = $$ & 0xffff;
# linux/in.h: IP_MTU_DISCOVER 10, IP_PMTUDISC_DO 2: never split, and heed what routers have said.
setsockopt($icmp, 0, 10, pack('l', 2)) or die "setsockopt: $!";

sub send_echo { # RFC 792: type 8, code 0, checksum, identifier, sequence
  my ($target, $sequence, $bytes) = @_;
  my $head = pack('CCnnn', 8, 0, 0, $id, $sequence);
  my $packet = $head . ('p' x ($bytes - length $head));
  my $sum = unpack('%32n*', length($packet) % 2 ? "$packet\0" : $packet);
  $sum = ($sum >> 16) + ($sum & 0xffff) while $sum >> 16;
  substr($packet, 2, 2) = pack('n', ~$sum & 0xffff);
  return 1 if send($icmp, $packet, 0, sockaddr_in(0, inet_aton($target->{address})));
  $target->{error} = "send: $!";
  return 0;
}
my %seen;
sub collect { # answers, until all that were sent are back or so many seconds are over
  my ($wanted, $seconds) = @_;
  my ($end, $bits) = (time() + $seconds + 1, '');
  vec($bits, fileno($icmp), 1) = 1;
  while ($wanted > 0 && time() < $end && ready($bits, $seconds)) {
    my $peer = recv($icmp, my $packet, 65536, 0) or next;
    my $header = 4 * (ord($packet) & 15);
    my ($type, undef, undef, $whose, $sequence) = unpack('CCnnn', substr($packet, $header, 8));
    next unless $type == 0 && $whose == $id;
    my (undef, $address) = sockaddr_in($peer);
    $wanted-- unless $seen{inet_ntoa($address)}{$sequence}++;
  }
}
sub pings { # one check: rounds of echoes to all targets; each has to come back
  my ($check, $first, $rounds, $bytes) = @_;
  for my $round (0 .. $rounds - 1) {
    delete $_->{error} for @targets;
    my $sent = grep { send_echo($_, $first + $round, $bytes) } @targets;
    collect($sent, 2);
  }
  for my $target (@targets) {
    my $back = grep { $seen{$target->{address}}{$first + $_} } 0 .. $rounds - 1;
    my $text = sprintf '%d of %d packets of %d bytes came back', $back, $rounds, $bytes + 20;
    $text .= " ($target->{error})" if $target->{error};
    answer($check, $target, $back == $rounds ? 0 : 1, $text);
  }
}

# The first packet may be lost while a neighbour is asked for; after it every one counts.
if (@targets) { my $sent = grep { send_echo($_, 1, 64) } @targets; collect($sent, 2) }
pings('ping', 10, 3, 64);
pings('mtu', 20, 2, $mtu - 20);

my $data = join '', map { chr(($_ * 7 + $_ / 251) % 256) } 1 .. $size;
my %open;
sub done { my ($target, $status, $text) = @_; answer('tcp', $target, $status, $text); my $link = delete $target->{link}; if ($link) { delete $open{fileno $link}; close $link } }
for my $target (@targets) {
  socket(my $link, PF_INET, SOCK_STREAM, 6) or do { done($target, 1, "socket: $!"); next };
  fcntl($link, F_SETFL, O_NONBLOCK);
  @$target{qw(link rest answer)} = ($link, $data, '');
  my $fine = connect($link, sockaddr_in($target->{port}, inet_aton($target->{address}))) || $!{EINPROGRESS};
  if (!$fine) { done($target, 1, "connect: $!"); next }
  $open{fileno $link} = $target;
}
my $end = time() + $patience;
while (%open && time() < $end) {
  my ($reading, $writing) = ('', '');
  for my $number (keys %open) { vec($reading, $number, 1) = 1; vec($writing, $number, 1) = 1 if length $open{$number}{rest} }
  select($reading, $writing, undef, 1);
  for my $number (keys %open) {
    my $target = $open{$number};
    if (vec($writing, $number, 1)) {
      my $sent = syswrite($target->{link}, $target->{rest});
      if (!defined $sent) { done($target, 1, "connect or send: $!") unless $!{EAGAIN}; next }
      substr($target->{rest}, 0, $sent) = '';
      shutdown($target->{link}, 1) unless length $target->{rest};
    }
    next unless vec($reading, $number, 1);
    my $got = sysread($target->{link}, my $chunk, 65536);
    if (!defined $got) { done($target, 1, "receive: $!") unless $!{EAGAIN}; next }
    if ($got) { $target->{answer} .= $chunk; next }
    my ($address, $back) = split /\n/, $target->{answer}, 2;
    if (!defined $back) { done($target, 1, 'failed no answer') }
    elsif ($back ne $data) { done($target, 1, 'failed other data came back: ' . length($back) . " of $size bytes") }
    else { done($target, 0, "same $address") }
  }
}
done($_, 1, "failed no end after $patience s") for values %open;
