# Checks layer 2 from one interface of this network namespace: which machines answer ARP for each
# address, whether a ping comes back with the sender's own TTL, and whether full-size packets pass.
# Arguments: name, interface, MTU, then kind, name and address of each target. Kinds: reach (one
# machine must answer), apart (none may), own (no other may), router (one must answer; no pings).
# Prints `answer CHECK FROM TO STATUS TEXT` for each check.

use strict; use warnings; use Socket;
$| = 1;
my ($from, $link, $mtu, @rest) = @ARGV;
my @targets;
while (@rest) { my ($kind, $name, $address) = splice(@rest, 0, 3); push @targets, { kind => $kind, name => $name, address => $address, macs => {} } }
sub answer { my ($check, $target, $status, $text) = @_; print "answer $check $from $target->{name} $status $text\n" }
sub ask { my ($request, $unpack) = @_; # netdevice(7): SIOCGIFINDEX, SIOCGIFHWADDR, SIOCGIFADDR
  socket(my $any, PF_INET, SOCK_DGRAM, 0) or die "socket: $!";
  my $ifreq = pack('a16 x24', $link);
  ioctl($any, $request, $ifreq) or die "ioctl $link: $!";
  return unpack($unpack, $ifreq);
}
my $index = ask(0x8933, 'x16 i');
my $mac = ask(0x8927, 'x18 a6');
my $own_address = eval { ask(0x8915, 'x20 a4') } // "\0\0\0\0";
# packet(7): AF_PACKET 17, ETH_P_ARP 0x0806, bound to the one interface.
socket(my $wire, 17, SOCK_RAW, unpack('S', pack('n', 0x0806))) or die "packet socket: $!";
my $every_mac = pack('S n i S C C a8', 17, 0x0806, $index, 0, 0, 6, "\xff" x 6);
bind($wire, $every_mac) or die "bind: $!";

sub wait_readable { # true if a packet came, and the seconds left, which select(2) of Linux returns
  my ($link, $seconds) = @_;
  my $bits = '';
  vec($bits, fileno($link), 1) = 1;
  return select($bits, undef, undef, $seconds);
}
sub request { # RFC 826; RFC 5227: a probe for an address of our own has no sender
  my ($target) = @_;
  my $sender = $target->{kind} eq 'own' ? "\0\0\0\0" : $own_address;
  my $frame = pack('a6 a6 n n n C C n a6 a4 a6 a4', "\xff" x 6, $mac, 0x0806, 1, 0x0800, 6, 4, 1, $mac, $sender, "\0" x 6, inet_aton($target->{address}));
  send($wire, $frame, 0, $every_mac);
}
for my $round (1 .. 3) {
  request($_) for @targets;
  my $left = 0.4;
  while ($left > 0) {
    (my $ready, $left) = wait_readable($wire, $left);
    last unless $ready;
    recv($wire, my $frame, 1518, 0) // next;
    next if length $frame < 42 || unpack('x20 n', $frame) != 2;
    my ($their_mac, $their_ip) = unpack('x22 a6 a4', $frame);
    next if $their_mac eq $mac;
    for my $target (@targets) { $target->{macs}{join ':', map { sprintf '%02x', ord } split //, $their_mac}++ if inet_aton($target->{address}) eq $their_ip }
  }
}
my @reached;
for my $target (@targets) {
  my @macs = sort keys %{$target->{macs}};
  my $machines = @macs ? join(' and ', @macs) : 'nobody';
  if ($target->{kind} eq 'own') { answer('duplicate', $target, @macs ? 1 : 0, "$machines answers for $target->{address}") }
  elsif ($target->{kind} eq 'apart') { answer('apart', $target, @macs ? 1 : 0, "$machines answers ARP for $target->{address}") }
  else {
    answer('arp', $target, @macs == 1 ? 0 : 1, "$machines answers ARP for $target->{address}");
    push @reached, $target if $target->{kind} eq 'reach';
  }
}

socket(my $icmp, PF_INET, SOCK_RAW, 1) or die "socket: $!";
setsockopt($icmp, SOL_SOCKET, 25, pack('a16', $link)) or die "bind to $link: $!"; # SO_BINDTODEVICE
setsockopt($icmp, 0, 10, pack('l', 2)) or die "setsockopt: $!"; # never split
my $id = $$ & 0xffff;
sub send_echo { # RFC 792
  my ($target, $sequence, $bytes) = @_;
  my $head = pack('CCnnn', 8, 0, 0, $id, $sequence);
  my $packet = $head . ('p' x ($bytes - length $head));
  my $sum = unpack('%32n*', $packet);
  $sum = ($sum >> 16) + ($sum & 0xffff) while $sum >> 16;
  substr($packet, 2, 2) = pack('n', ~$sum & 0xffff);
  send($icmp, $packet, 0, sockaddr_in(0, inet_aton($target->{address})));
}
my %ttl;
sub collect {
  my ($wanted) = @_;
  my $left = 2;
  while ($wanted > 0 && $left > 0) {
    (my $ready, $left) = wait_readable($icmp, $left);
    last unless $ready;
    my $peer = recv($icmp, my $packet, 65536, 0) or next;
    my ($type, undef, undef, $echo_id, $sequence) = unpack('CCnnn', substr($packet, 4 * (ord($packet) & 15), 8));
    next unless $type == 0 && $echo_id == $id;
    my (undef, $address) = sockaddr_in($peer);
    $wanted-- unless exists $ttl{inet_ntoa($address)}{$sequence};
    $ttl{inet_ntoa($address)}{$sequence} = unpack('x8 C', $packet);
  }
}
send_echo($_, 1, 64) for @reached;
collect(scalar @reached);
for my $round (2, 3) { send_echo($_, $round, 64) for @reached; collect(scalar @reached) }
for my $round (4, 5) { send_echo($_, $round, ($mtu - 20) & ~1) for @reached; collect(scalar @reached) }
for my $target (@reached) {
  my $replies = $ttl{$target->{address}} // {};
  my @small = grep { defined } @$replies{2, 3};
  my $hops = @small ? $small[0] : 'none';
  answer('link', $target, @small == 2 && $hops == 64 ? 0 : 1, scalar(@small) . " of 2 pings came back, ttl $hops");
  my $large = grep { defined } @$replies{4, 5};
  answer('size', $target, $large == 2 ? 0 : 1, "$large of 2 packets of $mtu bytes came back");
}
