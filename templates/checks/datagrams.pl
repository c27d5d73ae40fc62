# Sends one broadcast, and to every target UDP datagrams that fill the MTU, at a port where nobody
# listens: the far kernel says "port unreachable" (RFC 1122) only for what came whole, with its
# checksum right. Arguments: name, bytes of the largest packet, the address to broadcast to, then
# name and address of each target. Prints `answer udp <from> <to> <status> <text>` for each.

use strict; use warnings; use Socket;
$| = 1;
my ($from, $mtu, $everybody, @rest) = @ARGV;
socket(my $shout, PF_INET, SOCK_DGRAM, 17) or die "socket: $!";
setsockopt($shout, SOL_SOCKET, SO_BROADCAST, pack('l', 1));
send($shout, 'provision', 0, sockaddr_in(9, inet_aton($everybody)));
my %open;
while (@rest) {
  my ($name, $address) = splice(@rest, 0, 2);
  socket(my $link, PF_INET, SOCK_DGRAM, 17) or die "socket: $!";
  setsockopt($link, 0, 10, pack('l', 2)); # IP_MTU_DISCOVER, IP_PMTUDISC_DO: never split
  $open{$name} = [$link, $address];
}
my $bytes = $mtu - 28;
sub answer { my ($name, $status, $text) = @_; print "answer udp $from $name $status $text\n"; delete $open{$name} }
# Kernels limit how often they say so, and a port may be in use: four tries, each at another.
for my $port (33435, 47619, 52983, 61999) {
  for my $name (sort keys %open) {
    my ($link, $address) = @{$open{$name}};
    next if connect($link, sockaddr_in($port, inet_aton($address))) && send($link, 'u' x $bytes, 0);
    next if $!{ECONNREFUSED}; # an earlier one came back late: the next round hears of it
    answer($name, 1, "send: $!") if $port == 61999 || $!{EMSGSIZE};
  }
  my $end = time() + 2;
  while (%open && time() < $end) {
    my $bits = '';
    vec($bits, fileno $_->[0], 1) = 1 for values %open;
    select(my $ready = $bits, undef, undef, 1) > 0 or next;
    for my $name (sort keys %open) {
      next unless vec($ready, fileno $open{$name}[0], 1);
      my $got = recv($open{$name}[0], my $said, 64, 0x40);
      if (!defined $got && $!{ECONNREFUSED}) { answer($name, 0, "a datagram of $mtu bytes arrived whole") }
      elsif (!defined $got && !$!{EAGAIN}) { answer($name, 1, "receive: $!") }
    }
  }
}
answer($_, 1, "no answer to datagrams of $mtu bytes") for sort keys %open;
