# Sends one broadcast, and to every target UDP datagrams that fill the MTU, at a port without a
# listener: the target's kernel answers "port unreachable" (RFC 1122) only to a datagram that came
# whole, with a correct checksum. A firewall that rejects sends the same answer, from its own address or,
# in a bridge, from the target's. A target that answers no ping either gets no more than 2.5 s.
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
# Addresses that have answered a ping; who has rejected, by name; names, by address and our port.
my (%alive, %rejected, %names);
sub answer { my ($name, $status, $text) = @_; print "answer udp $from $name $status $text\n"; delete $open{$name} }
sub send_echo { # RFC 792
  my ($address) = @_;
  my $packet = pack('CCnnn', 8, 0, 0, $$ & 0xffff, 1);
  my $sum = unpack('%32n*', $packet);
  $sum = ($sum >> 16) + ($sum & 0xffff) while $sum >> 16;
  substr($packet, 2, 2) = pack('n', ~$sum & 0xffff);
  send($icmp, $packet, 0, sockaddr_in(0, inet_aton($address)));
}
sub unreachable { # the connected socket does not tell who refused, so the ICMP error is read
  my ($from, $code, $quoted) = @_;
  return if length $quoted < 28 || ord(substr $quoted, 9, 1) != 17;
  my $own_port = unpack('n', substr $quoted, 4 * (ord($quoted) & 15), 2);
  my $name = $names{inet_ntoa(substr $quoted, 16, 4) . " $own_port"};
  return unless defined $name && $open{$name} && $code != 4; # 4: too large, which the socket tells
  # net/ipv4/icmp.c quotes 548 bytes; nf_reject_ipv4.c, by which a bridge answers in the target's
  # name, quotes 536.
  my $forged = $bytes + 28 > 536 && length $quoted == 536;
  if ($forged || $from ne $open{$name}[1]) { $rejected{$name} = $forged ? 'a bridge' : $from }
  elsif ($code == 3) { answer($name, 0, "a datagram of $mtu bytes arrived whole") }
}
sub read_icmp {
  while (my $peer = recv($icmp, my $packet, 1500, 0x40)) { # MSG_DONTWAIT
    my $inner = substr($packet, 4 * (ord($packet) & 15));
    my ($type, $code) = unpack('CC', $inner); # 0: a reply, to any program
    my $from = inet_ntoa((sockaddr_in($peer))[1]);
    $alive{$from} = 1 if $type == 0;
    unreachable($from, $code, substr $inner, 8) if $type == 3 && length $inner > 8;
  }
}
# Kernels limit how often they answer so, and a port may be in use: four tries at four ports.
for my $port (33435, 47619, 52983, 61999) {
  for my $name (sort keys %open) {
    my ($link, $address) = @{$open{$name}};
    send_echo($address) unless $alive{$address};
    if (connect($link, sockaddr_in($port, inet_aton($address)))) {
      $names{"$address " . (sockaddr_in(getsockname $link))[0]} = $name;
      next if send($link, 'u' x $bytes, 0);
      # The error stands for an earlier datagram: this one has not been sent yet.
      next if $!{ECONNREFUSED} && send($link, 'u' x $bytes, 0);
    }
    answer($name, 1, "send: $!") if $port == 61999 || $!{EMSGSIZE};
  }
  my $waited = 0;
  while (%open && $waited < ((grep { $alive{$_->[1]} } values %open) ? 1.2 : 0.6)) {
    my $bits = '';
    vec($bits, fileno $_, 1) = 1 for $icmp, map { $_->[0] } values %open;
    my ($found, $left) = select(my $ready = $bits, undef, undef, 0.6);
    $waited += 0.6 - $left; # Linux returns the time left
    next unless $found > 0;
    read_icmp() if vec($ready, fileno $icmp, 1);
    for my $name (sort keys %open) {
      next unless vec($ready, fileno $open{$name}[0], 1);
      my $count = recv($open{$name}[0], my $data, 64, 0x40);
      answer($name, 1, "receive: $!") unless defined $count || $!{EAGAIN} || $!{ECONNREFUSED};
    }
  }
}
for my $name (sort keys %open) {
  my $by = $rejected{$name};
  answer($name, 1, $by ? "$by rejects datagrams on their way" : "no answer to datagrams of $mtu bytes");
}
