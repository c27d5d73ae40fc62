# Sends one broadcast, and to every target UDP datagrams that fill the MTU, at a port without a
# listener: the target's kernel answers "port unreachable" (RFC 1122) only to a datagram that came
# whole, with a correct checksum.
# Arguments: name, MTU, the address to broadcast to, then name and address of each target.
# Prints `answer udp FROM TO STATUS TEXT` for each target.

use strict; use warnings; use Socket;
$| = 1;
my ($from, $mtu, $broadcast, @rest) = @ARGV;
socket(my $sender, PF_INET, SOCK_DGRAM, 17) or die "socket: $!";
setsockopt($sender, SOL_SOCKET, SO_BROADCAST, pack('l', 1));
send($sender, 'provision', 0, sockaddr_in(9, inet_aton($broadcast)));
my %open;
while (@rest) {
  my ($name, $address) = splice(@rest, 0, 2);
  socket(my $link, PF_INET, SOCK_DGRAM, 17) or die "socket: $!";
  setsockopt($link, 0, 10, pack('l', 2)); # IP_MTU_DISCOVER, IP_PMTUDISC_DO: never split
  $open{$name} = [$link, $address];
}
my $bytes = $mtu - 28;
sub answer { my ($name, $status, $text) = @_; print "answer udp $from $name $status $text\n"; delete $open{$name} }
# Kernels limit how often they answer so, and a port may be in use: four tries at four ports.
for my $port (33435, 47619, 52983, 61999) {
  for my $name (sort keys %open) {
    my ($link, $address) = @{$open{$name}};
    next if connect($link, sockaddr_in($port, inet_aton($address))) && send($link, 'u' x $bytes, 0);
    next if $!{ECONNREFUSED}; # the answer to an earlier one: the next round reads it
    answer($name, 1, "send: $!") if $port == 61999 || $!{EMSGSIZE};
  }
  my $end = time() + 2;
  while (%open && time() < $end) {
    my $bits = '';
    vec($bits, fileno $_->[0], 1) = 1 for values %open;
    select(my $ready = $bits, undef, undef, 1) > 0 or next;
    for my $name (sort keys %open) {
      next unless vec($ready, fileno $open{$name}[0], 1);
      my $count = recv($open{$name}[0], my $data, 64, 0x40);
      if (!defined $count && $!{ECONNREFUSED}) { answer($name, 0, "a datagram of $mtu bytes arrived whole") }
      elsif (!defined $count && !$!{EAGAIN}) { answer($name, 1, "receive: $!") }
    }
  }
}
answer($_, 1, "no answer to datagrams of $mtu bytes") for sort keys %open;
