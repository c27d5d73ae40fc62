# Sends one broadcast, and to every target UDP datagrams that fill the MTU, at a port without a
# listener: the target's kernel answers "port unreachable" (RFC 1122) only to a datagram that came
# whole, with a correct checksum. A target that answers no ping either gets no more than 2.5 s.
# Arguments: name, MTU, the address to broadcast to, then name and address of each target.
# Prints `answer udp FROM TO STATUS TEXT` for each target.

use strict; use warnings; use Socket;
$| = 1;
my ($from, $mtu, $broadcast, @rest) = @ARGV;
socket(my $sender, PF_INET, SOCK_DGRAM, 17) or die "socket: $!";
setsockopt($sender, SOL_SOCKET, SO_BROADCAST, pack('l', 1));
send($sender, 'provision', 0, sockaddr_in(9, inet_aton($broadcast)));
socket(my $icmp, PF_INET, SOCK_RAW, 1) or die "socket: $!";
setsockopt($icmp, SOL_SOCKET, 33, pack('l', 1048576 + 4096 * @rest)); # SO_RCVBUFFORCE
my %open;
while (@rest) {
  my ($name, $address) = splice(@rest, 0, 2);
  socket(my $link, PF_INET, SOCK_DGRAM, 17) or die "socket: $!";
  setsockopt($link, 0, 10, pack('l', 2)); # IP_MTU_DISCOVER, IP_PMTUDISC_DO: never split
  $open{$name} = [$link, $address];
}
my $bytes = $mtu - 28;
my %alive; # addresses that have answered a ping
sub answer { my ($name, $status, $text) = @_; print "answer udp $from $name $status $text\n"; delete $open{$name} }
sub send_echo { # RFC 792
  my ($address) = @_;
  my $packet = pack('CCnnn', 8, 0, 0, $$ & 0xffff, 1);
  my $sum = unpack('%32n*', $packet);
  $sum = ($sum >> 16) + ($sum & 0xffff) while $sum >> 16;
  substr($packet, 2, 2) = pack('n', ~$sum & 0xffff);
  send($icmp, $packet, 0, sockaddr_in(0, inet_aton($address)));
}
sub read_echoes {
  while (my $peer = recv($icmp, my $packet, 1500, 0x40)) { # MSG_DONTWAIT
    my ($type) = unpack('C', substr($packet, 4 * (ord($packet) & 15), 1)); # 0: a reply, to any program
    $alive{inet_ntoa((sockaddr_in($peer))[1])} = 1 if $type == 0;
  }
}
# Kernels limit how often they answer so, and a port may be in use: four tries at four ports.
for my $port (33435, 47619, 52983, 61999) {
  for my $name (sort keys %open) {
    my ($link, $address) = @{$open{$name}};
    send_echo($address) unless $alive{$address};
    next if connect($link, sockaddr_in($port, inet_aton($address))) && send($link, 'u' x $bytes, 0);
    next if $!{ECONNREFUSED}; # the answer to an earlier one: the next round reads it
    answer($name, 1, "send: $!") if $port == 61999 || $!{EMSGSIZE};
  }
  my $waited = 0;
  while (%open && $waited < ((grep { $alive{$_->[1]} } values %open) ? 1.2 : 0.6)) {
    my $bits = '';
    vec($bits, fileno $_, 1) = 1 for $icmp, map { $_->[0] } values %open;
    my ($found, $left) = select(my $ready = $bits, undef, undef, 0.6);
    $waited += 0.6 - $left; # Linux returns the time left
    next unless $found > 0;
    read_echoes() if vec($ready, fileno $icmp, 1);
    for my $name (sort keys %open) {
      next unless vec($ready, fileno $open{$name}[0], 1);
      my $count = recv($open{$name}[0], my $data, 64, 0x40);
      if (!defined $count && $!{ECONNREFUSED}) { answer($name, 0, "a datagram of $mtu bytes arrived whole") }
      elsif (!defined $count && !$!{EAGAIN}) { answer($name, 1, "receive: $!") }
    }
  }
}
answer($_, 1, "no answer to datagrams of $mtu bytes") for sort keys %open;
