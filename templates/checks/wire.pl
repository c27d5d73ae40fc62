# Counts the IPv4 frames between hosts on every interface of this network namespace by their
# encapsulation, without keeping any frame. The kernel passes on no packet of more than 300 bytes, and
# of plain TCP only what opens a connection: a busy host could not count all data of the checks. At
# sealed ports it passes on every packet.
# `start SECONDS SPEC…` starts the sniffer in the background and prints `sniffer PID`, or
# `sniffer failed: REASON`. A SPEC is `net=CIDR` (count frames whose source and destination are both in
# the range), `from=ADDRESS>CIDR` (count those from the address into the range), `port=N` (a UDP port that may carry a tunnel) or `sealed=N` (the UDP port of a tunnel
# whose content must not be readable).
# `stop PID` prints `frame DEV in|out PROTOCOL PORT OUTER-FROM OUTER-TO FROM TO COUNT` for each flow
# on each interface, then `lost N`, and ends the sniffer; only root may. After SECONDS, the sniffer
# ends by itself. PROTOCOL is `wireguard` for a packet of a sealed port, or `readable` if it contains
# the payload of checks/datagrams.pl; the inner addresses are then the outer ones.

use strict; use warnings; use Socket; use POSIX ();
my ($verb, @arguments) = @ARGV;
sub socket_address { return pack_sockaddr_un("\0provision-wire-$_[0]") }
if ($verb eq 'stop') {
  socket(my $control, PF_UNIX, SOCK_STREAM, 0) or die "socket: $!";
  connect($control, socket_address($arguments[0])) or do { print "sniffer failed: $!\n"; exit 0 };
  print while <$control>;
  exit 0;
}
my $seconds = shift @arguments;
my @nets = map { m{^net=(.+)/(\d+)$} ? [unpack('N', inet_aton($1)), $2 ? (0xffffffff << (32 - $2)) & 0xffffffff : 0] : () } @arguments;
my @strangers = map { m{^from=(.+)>(.+)/(\d+)$} ? [unpack('N', inet_aton($1)), unpack('N', inet_aton($2)), $3 ? (0xffffffff << (32 - $3)) & 0xffffffff : 0] : () } @arguments;
my %ports = map { /^port=(\d+)$/ ? ($1 => 1) : () } @arguments;
my %sealed = map { /^sealed=(\d+)$/ ? ($1 => 1) : () } @arguments;

# linux/if_packet.h: AF_PACKET 17, ETH_P_ALL 3 (others miss sent frames); SOCK_DGRAM begins at IP.
socket(my $tap, 17, SOCK_DGRAM, unpack('S', pack('n', 3))) or do { print "sniffer failed: $!\n"; exit 0 };
# Classic BPF (linux/filter.h): a busy host does not wake us for frames that do not count.
my @code = ([0x28, 0, 0, 0xfffff000], [0x15, 1, 0, 0x0800], [0x06, 0, 0, 0]); # not IPv4: nothing
my ($same, $keep, $drop) = (sub { [0x15, 0, 1, $_[0]] }, [0x06, 0, 0, 256], [0x06, 0, 0, 0]);
my @ports = map { ($same->($_), $keep) } sort keys %ports;
my @sealed = map { ($same->($_), [0x06, 0, 0, 65535]) } sort keys %sealed; # the whole packet is searched
# The destination's port; behind NAT, only the sender's is the tunnel's.
my @udp = ([0xb1, 0, 0, 0], [0x48, 0, 0, 2], @sealed, [0x48, 0, 0, 0], @sealed);
push @code, [0x30, 0, 0, 9], [0x15, 0, scalar @udp, 17], @udp;
push @code, [0x80, 0, 0, 0], [0x25, 0, 1, 300], $drop; # longer than 300 bytes
push @code, [0x30, 0, 0, 9], $same->(47), $keep; # GRE
push @code, [0x15, 0, 2 + @ports, 17], [0xb1, 0, 0, 0], [0x48, 0, 0, 2], @ports;
# Of TCP, only what opens a connection: whether it is not TCP (6), or has the flag SYN (2).
my @plain = ([0x30, 0, 0, 9], [0x15, 0, 3, 6], [0xb1, 0, 0, 0], [0x50, 0, 0, 13], [0x45, 0, 1, 2], $keep, $drop);
for my $rule (@strangers) { # from one address into a range
  my ($source, $base, $mask) = @$rule;
  push @code, [0x20, 0, 0, 12], [0x15, 0, 4, $source], [0x20, 0, 0, 16], [0x54, 0, 0, $mask], [0x15, 0, 1, $base], $keep;
}
for my $net (@nets) { # from and to inside it
  my ($base, $mask) = @$net;
  my @to = ([0x20, 0, 0, 16], [0x54, 0, 0, $mask], [0x15, 0, scalar @plain, $base], @plain);
  push @code, [0x20, 0, 0, 12], [0x54, 0, 0, $mask], [0x15, 0, scalar @to, $base], @to;
}
my $program = join '', map { pack('SCCL', @$_) } @code, [0x06, 0, 0, 0];
my $pointer = length pack('P', '');
setsockopt($tap, SOL_SOCKET, 26, pack("S x!$pointer P", length($program) / 8, $program)) or do { print "sniffer failed: $!\n"; exit 0 };
setsockopt($tap, SOL_SOCKET, 33, pack('l', 8388608)); # SO_RCVBUFFORCE

my $child = fork();
defined $child or do { print "sniffer failed: $!\n"; exit 0 };
if ($child) { print "sniffer $child\n"; exit 0 }
POSIX::setsid();
open(STDIN, '<', '/dev/null'); open(STDOUT, '>', '/dev/null'); open(STDERR, '>', '/dev/null');
$SIG{PIPE} = 'IGNORE';
alarm $seconds;
my (%count, %names);
sub interface_name { # the name of an interface's index
  my $index = shift;
  if (!exists $names{$index}) {
    for my $file (glob '/sys/class/net/*/ifindex') {
      open(my $handle, '<', $file) or next;
      my ($number) = split ' ', <$handle> // '';
      $names{$number} = (split m{/}, $file)[4] if defined $number;
    }
  }
  return $names{$index} // "#$index";
}
sub ip_ends { # source and destination of an IPv4 packet; empty for anything else
  my $packet = shift;
  return () if length $packet < 20 || ord($packet) >> 4 != 4;
  return (inet_ntoa(substr $packet, 12, 4), inet_ntoa(substr $packet, 16, 4));
}
sub ethernet_ends { # source and destination inside an Ethernet frame
  my $frame = shift;
  return () if length $frame < 34;
  my ($type, $skip) = (unpack('n', substr $frame, 12, 2), 14);
  ($type, $skip) = (unpack('n', substr $frame, 16, 2), 18) if $type == 0x8100;
  return $type == 0x0800 ? ip_ends(substr $frame, $skip) : ();
}
sub inside { # the first IPv4 header between two addresses of one range, with a correct checksum
  my $text = shift;
  while ($text =~ /\x45/g) {
    my $header = substr $text, $-[0], 20;
    last if length $header < 20;
    my $sum = unpack '%32n*', $header;
    $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
    next if $sum != 0xffff;
    my ($source, $target) = unpack 'NN', substr $header, 12;
    return ip_ends($header) if grep { ($source & $_->[1]) == $_->[0] && ($target & $_->[1]) == $_->[0] } @nets;
  }
  return ();
}
sub unseal { # the protocol of a packet at a sealed port, the port, and the readable addresses in it
  my ($packet, $port) = @_;
  my @ip_ends = inside(substr $packet, 8);
  return ('udp', $port, @ip_ends) if @ip_ends;
  my @outer = ip_ends($_[2]);
  return ('readable', $port, @outer) if $packet =~ /u{16}/;
  my $type = unpack 'V', substr $packet, 8, 4; # a message's type, and three zero bytes
  return $type >= 1 && $type <= 4 ? ('wireguard', $port, @outer) : ();
}
sub decapsulate { # protocol, port, and source and destination of the packet inside a tunnel
  my $packet = shift;
  return () if unpack('n', substr $packet, 6, 2) & 0x1fff; # a later fragment
  my ($protocol, $inner) = (ord(substr $packet, 9, 1), substr $packet, 4 * (ord($packet) & 15));
  if ($protocol == 47 && length $inner > 4) { # RFC 2784 and 2890: checksum, key and sequence are optional
    my ($flags, $type) = unpack('nn', $inner);
    my $skip = 4 + ($flags & 0x8000 ? 4 : 0) + ($flags & 0x2000 ? 4 : 0) + ($flags & 0x1000 ? 4 : 0);
    return if length $inner <= $skip;
    my @ip_ends = $type == 0x6558 ? ethernet_ends(substr $inner, $skip) : $type == 0x0800 ? ip_ends(substr $inner, $skip) : ();
    return @ip_ends ? ('gre', 0, @ip_ends) : ();
  }
  return () if $protocol != 17 || length $inner < 16;
  my ($from_port, $port) = unpack('nn', $inner);
  my ($sealed) = grep { $sealed{$_} } $port, $from_port;
  return unseal($inner, $sealed, $packet) if $sealed;
  return () unless $ports{$port};
  # RFC 7348: the I flag and nothing else, reserved fields of zero.
  my ($flags, $id) = unpack('NN', substr $inner, 8, 8);
  my @ip_ends = $flags == 0x08000000 && !($id & 0xff) ? ethernet_ends(substr $inner, 16) : ();
  return ('vxlan', $port, @ip_ends) if @ip_ends;
  @ip_ends = ip_ends(substr $inner, 8);
  return @ip_ends ? ('udp', $port, @ip_ends) : ();
}
sub count_frames {
  while (defined(my $from = recv($tap, my $packet, 65535, 0x40))) { # MSG_DONTWAIT
    last unless length $packet;
    my (undef, undef, $index, $hardware, $type) = unpack('SnlSC', $from);
    my @outer = ip_ends($packet);
    next if !@outer || $hardware == 772; # lo
    my @frame = decapsulate($packet);
    @frame = ('plain', 0, @outer) unless @frame;
    my ($protocol, $port, @inner) = @frame;
    $count{join ' ', interface_name($index), $type == 4 ? 'out' : 'in', $protocol, $port, @outer, @inner}++;
  }
}
socket(my $server, PF_UNIX, SOCK_STREAM, 0) or POSIX::_exit(1);
bind($server, socket_address($$)) && listen($server, 4) or POSIX::_exit(1);
while (1) {
  my $bits = '';
  vec($bits, fileno $_, 1) = 1 for $tap, $server;
  select(my $ready = $bits, undef, undef, undef) > 0 or next;
  count_frames();
  next unless vec($ready, fileno $server, 1);
  accept(my $client, $server) or next;
  my (undef, $user) = unpack('iii', getsockopt($client, SOL_SOCKET, 17)); # SO_PEERCRED
  next if $user != 0;
  count_frames();
  my (undef, $lost) = unpack('LL', getsockopt($tap, 263, 6)); # PACKET_STATISTICS
  my $text = join '', map({ "frame $_ $count{$_}\n" } sort keys %count), 'lost ' . ($lost // 0) . "\n";
  while (length $text) { my $sent = syswrite($client, $text) or last; substr($text, 0, $sent) = '' }
  POSIX::_exit(0);
}
