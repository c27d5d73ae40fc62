# Watches one probe on its way through this host, for `provision explain`: sniffers on all interfaces of
# some network namespaces, netfilter's trace of the probe, and counters before and after.
# `start SECONDS KEY=VALUE…` starts the watch in the background and prints `watch PID`, or
# `watch failed: REASON`. Keys: `ns=LABEL:PID` (a namespace, by a process in it), `id=N` and `magic=HEX`
# (of the ICMP probe), `port=N` (the client's port of a TCP or UDP probe), `tunnel=PORT` (a UDP port that
# may carry a tunnel), `trace=CHAIN MATCH…` (a rule of the raw table that selects packets to trace).
# `stop PID` ends the watch and prints one line for each observation, then `watched`; only root may.
# After SECONDS, the watch ends by itself. In any case it removes its rules of the raw table.

use strict; use warnings; use Socket; use POSIX ();
my ($verb, @arguments) = @ARGV;
sub socket_address { return pack_sockaddr_un("\0provision-explain-$_[0]") }
if ($verb eq 'stop') {
  socket(my $control, PF_UNIX, SOCK_STREAM, 0) or die "socket: $!";
  connect($control, socket_address($arguments[0])) or do { print "watch failed: it has ended\n"; exit 0 };
  print while <$control>;
  exit 0;
}
my $seconds = shift @arguments;
my (@spaces, %tunnels, @rules, %option);
for (@arguments) {
  my ($key, $value) = split /=/, $_, 2;
  if ($key eq 'ns') { push @spaces, [split /:/, $value] }
  elsif ($key eq 'tunnel') { $tunnels{$value} = 1 }
  elsif ($key eq 'trace') { push @rules, $value }
  else { $option{$key} = $value }
}
my ($id, $port, $magic) = ($option{id} // -1, $option{port} // -1, pack('H*', $option{magic} // ''));
sub fail { print "watch failed: $_[0]\n"; exit 0 }

# Classic BPF (linux/filter.h): a busy host does not wake us for packets that do not count.
my ($same, $keep, $none) = (sub { [0x15, 0, 1, $_[0]] }, [0x06, 0, 0, 512], [0x06, 0, 0, 0]);
my @code = ([0x28, 0, 0, 0xfffff000], $same->(0x0806), $keep, [0x15, 1, 0, 0x0800], $none); # ARP, IPv4
push @code, [0x30, 0, 0, 9], $same->(1), $keep, $same->(47), $keep; # ICMP and GRE
push @code, [0x15, 1, 0, 6], [0x15, 0, 7 + 2 * keys %tunnels, 17], [0xb1, 0, 0, 0];
push @code, [0x48, 0, 0, 0], $same->($port & 0xffff), $keep, [0x48, 0, 0, 2];
push @code, map { ($same->($_), $keep) } $port & 0xffff, sort keys %tunnels;
my $filter = join '', map { pack('SCCL', @$_) } @code, $none;
my $pointer = length pack('P', '');

# setns(2) has no function in perl; its number depends on the processor (asm/unistd.h).
my %setns = (x86_64 => 308, aarch64 => 268, riscv64 => 268, loongarch64 => 268, i686 => 346, armv7l => 375,
  ppc64le => 350, s390x => 339);
my $setns = $setns{(POSIX::uname())[4]};
open(my $home, '<', '/proc/self/ns/net') or fail("its namespace: $!");
my (%tap, %pids, @errors);
for (@spaces) {
  my ($label, $pid) = @$_;
  open(my $space, '<', "/proc/$pid/ns/net") or do { push @errors, "the namespace of $label: $!"; next };
  defined $setns or fail('the number of setns is not known for this processor');
  syscall($setns, fileno $space, 0x40000000) == 0 or fail("setns: $!"); # CLONE_NEWNET
  # linux/if_packet.h: AF_PACKET 17, ETH_P_ALL 3 (others miss sent packets); SOCK_DGRAM begins at IP.
  my $opened = socket(my $tap, 17, SOCK_DGRAM, unpack('S', pack('n', 3)));
  my $reason = $!;
  syscall($setns, fileno $home, 0x40000000);
  $opened or fail("a sniffer: $reason");
  setsockopt($tap, SOL_SOCKET, 26, pack("S x!$pointer P", length($filter) / 8, $filter)) or fail("a filter: $!");
  setsockopt($tap, SOL_SOCKET, 33, pack('l', 8388608)); # SO_RCVBUFFORCE
  ($tap{$label}, $pids{$label}) = ($tap, $pid);
}

sub slurp { open(my $file, '<', $_[0]) or return (); return <$file> }
sub lines_of { # the output of a command without a shell, at most 5 s
  my @command = @_;
  open(my $output, '-|', 'timeout', '5', @command) or return ();
  my @lines = <$output>;
  close $output;
  return @lines;
}
sub counters { # of a namespace: key → number; a rule's key holds the whole rule
  my ($label, $pid) = @_;
  my %counters;
  for my $file ('snmp', 'netstat') {
    my @lines = slurp("/proc/$pid/net/$file");
    while (my ($head, $row) = splice @lines, 0, 2) {
      my ($group, @names) = split ' ', $head; my (undef, @numbers) = split ' ', $row // '';
      $counters{"counter $label $group$names[$_]"} = $numbers[$_] for 0 .. $#numbers;
    }
  }
  for (slurp("/proc/$pid/net/dev")) {
    my ($name, $row) = /^\s*([^:\s]+):(.*)/ or next;
    my @numbers = split ' ', $row;
    my %fields = (rx_errors => 2, rx_dropped => 3, tx_errors => 10, tx_dropped => 11);
    $counters{"device $label $name $_"} = $numbers[$fields{$_}] for keys %fields;
  }
  my @enter = $label eq 'host' ? () : ('nsenter', '-t', $pid, '-n');
  my %programs = map { ($_ => "/usr/sbin/iptables-$_-save") } 'nft', 'legacy';
  # Reading by ebtables-legacy would load its modules, too; containers have no bridges of ours.
  $programs{ebtables} = '/usr/sbin/ebtables-nft-save' if $label eq 'host';
  for my $backend (sort keys %programs) {
    my $program = $programs{$backend};
    # Reading the tables of iptables-legacy would load its modules into the kernel.
    next unless -x $program and ($backend ne 'legacy' or slurp("/proc/$pid/net/ip_tables_names"));
    my ($table, %number) = ('');
    for (lines_of(@enter, $program, '-c')) {
      if (/^\*(\S+)/) { ($table, %number) = ($1) }
      elsif (/^:(\S+) (ACCEPT|DROP) \[(\d+):/) { $counters{"policy $label $backend $table $1 $2"} = $3 }
      elsif (/^\[(\d+):\d+\] (-A (\S+).*)/) {
        next if / TRACE$/;
        $number{$3}++; $counters{"rule $label $backend $table $number{$3} $2"} = $1;
      }
    }
  }
  return %counters;
}
my %before = map { counters($_, $pids{$_}) } keys %pids;

my $comment;
sub traced { # insert or delete (-I, -D) the rules that select packets; true if that worked
  my ($operation, @some) = @_;
  open(my $restore, '|-', 'iptables-nft-restore -w 5 --noflush 2>/dev/null') or return 0;
  print $restore "*raw\n", map({ my ($chain, $match) = split ' ', $_, 2;
    "$operation $chain $match $comment -j TRACE\n" } @some), "COMMIT\n";
  return close $restore;
}
my ($monitor, $monitor_pid, $tracing);
if (@rules) {
  if (-x '/usr/sbin/xtables-monitor' and -x '/usr/sbin/iptables-nft-restore') {
    $monitor_pid = open($monitor, '-|', 'exec timeout ' . (2 + $seconds) . ' xtables-monitor --trace 2>/dev/null');
    $monitor_pid or push @errors, "xtables-monitor: $!";
  } else { push @errors, 'xtables-monitor is missing: Debian package iptables' }
}
pipe(my $reader, my $writer) or fail("pipe: $!");
my $child = fork();
defined $child or fail("fork: $!");
if ($child) {
  close $writer;
  $| = 1;
  print scalar(<$reader>) // "watch failed: it has ended\n"; # the sniffers and the trace are ready
  POSIX::_exit(0); # `exit` would wait for the monitor
}
POSIX::setsid();
close $reader;
open(STDIN, '<', '/dev/null'); open(STDOUT, '>', '/dev/null'); open(STDERR, '>', '/dev/null');
$comment = "-m comment --comment provision-explain-$$";
my $guardian = $$;
sub untrace { # somebody may have removed one of the rules: then the others are deleted one by one
  traced('-D', @rules) or map { traced('-D', $_) } @rules;
}
if ($monitor_pid and my $watch = fork()) {
  close $writer; close $home; close $_ for values %tap;
  $SIG{$_} = sub { kill 'TERM', $watch } for qw(TERM INT HUP);
  1 until waitpid($watch, 0) == $watch;
  if ($?) { untrace(); kill 'TERM', $monitor_pid } # killed: its rules are still there
  POSIX::_exit(0);
}
sub finish { # however the watch ends: no rule and no process stays
  alarm 0;
  return unless $tracing;
  $tracing = 0;
  untrace();
  kill 'TERM', $monitor_pid;
}
$SIG{$_} = sub { finish(); POSIX::_exit(0) } for qw(ALRM TERM INT HUP);
$SIG{__DIE__} = sub { finish() };
$SIG{PIPE} = 'IGNORE';
alarm $seconds;
if ($monitor_pid) {
  $tracing = 1; # a signal between the two commands removes the rules, too
  traced('-I', @rules) or push @errors, 'netfilter refuses the rules that trace';
}

my (%count, %names, $trace, $lost);
sub interface_name { # by the sniffer's socket, which is in the interface's namespace
  my ($label, $index) = @_;
  return $names{$label}{$index} //= do {
    my $request = pack('x16 l x20', $index); # SIOCGIFNAME
    ioctl($tap{$label}, 0x8910, $request) ? unpack('Z16', $request) : "#$index";
  };
}
sub payload { # protocol and payload of an IPv4 packet; empty for anything else, and a later fragment
  my $packet = shift;
  return () if length $packet < 20 || ord($packet) >> 4 != 4;
  return () if unpack('n', substr $packet, 6, 2) & 0x1fff;
  return (ord(substr $packet, 9, 1), substr $packet, 4 * (ord($packet) & 15));
}
sub ends { return inet_ntoa(substr $_[0], 12, 4), inet_ntoa(substr $_[0], 16, 4) }
sub probe_kind { # request, reply, reset or error:TYPE:CODE:MTU; undef for a packet of others
  my ($packet, $quoted) = @_;
  my ($protocol, $inner) = payload($packet) or return undef;
  if ($protocol == 1 && length $inner >= 8) {
    my ($type, $code, undef, $number, $last) = unpack('CCnnn', $inner);
    if ($type == 8 || $type == 0) {
      my $ours = $number == $id && ($quoted || substr($inner, 8, length $magic) eq $magic);
      return $ours ? $type ? 'request' : 'reply' : undef;
    }
    return undef if $quoted || ($type != 3 && $type != 11 && $type != 5 && $type != 12);
    my $mine = probe_kind(substr($inner, 8), 1) or return undef;
    return "error:$type:$code:$last:$mine";
  }
  return undef if $protocol != 6 && $protocol != 17 || length $inner < 4;
  my ($from, $to) = unpack('nn', $inner);
  my $reset = $protocol == 6 && length $inner > 13 && ord(substr $inner, 13, 1) & 4;
  return $from == $port ? 'request' : $to == $port ? $reset ? 'reset' : 'reply' : undef;
}
my $inner_arp = ''; # an ARP packet in the frame that was read last
sub ethernet_payload { # the IPv4 packet in an Ethernet frame
  my $frame = shift;
  return '' if length $frame < 34;
  my ($type, $skip) = (unpack('n', substr $frame, 12, 2), 14);
  ($type, $skip) = (unpack('n', substr $frame, 16, 2), 18) if $type == 0x8100;
  $inner_arp = substr $frame, $skip if $type == 0x0806;
  return $type == 0x0800 ? substr $frame, $skip : '';
}
sub decapsulated { # the tunnel's name, its key, and the packet inside; empty without a tunnel
  my ($protocol, $inner) = payload(shift) or return ();
  if ($protocol == 47 && length $inner > 4) { # RFC 2784 and 2890: checksum, key and sequence are optional
    my ($flags, $type) = unpack('nn', $inner);
    my $skip = 4 + ($flags & 0x8000 ? 4 : 0) + ($flags & 0x2000 ? 4 : 0) + ($flags & 0x1000 ? 4 : 0);
    return () if length $inner <= $skip;
    my $key = $flags & 0x2000 ? unpack('N', substr $inner, 4 + ($flags & 0x8000 ? 4 : 0), 4) : 0;
    my $packet = substr $inner, $skip;
    return ("gre:$key", $type == 0x6558 ? ethernet_payload($packet) : $packet);
  }
  return () if $protocol != 17 || length $inner < 16;
  my $to = unpack('n', substr $inner, 2, 2);
  return () unless $tunnels{$to};
  my ($flags, $vni) = unpack('NN', substr $inner, 8, 8);
  # RFC 7348: the I flag and nothing else, reserved fields of zero.
  return ("vxlan:$to:" . ($vni >> 8), ethernet_payload(substr $inner, 16)) if $flags == 0x08000000 && !($vni & 0xff);
  return ("udp:$to", substr $inner, 8);
}
sub mac { return join ':', map { sprintf '%02x', $_ } unpack 'C6', $_[0] }
sub note_arp {
  my ($label, $device, $direction, $packet) = @_;
  my (undef, undef, undef, undef, $operation, $mac, $sender, undef, $target) = unpack('nnCCn a6 a4 a6 a4', $packet);
  my $kind = $operation == 1 ? 'request' : 'reply';
  my $key = join ' ', 'arp', $label, $device, $direction, $kind, mac($mac), inet_ntoa($sender), inet_ntoa($target);
  $count{$key}++ if keys %count < 4000;
}
sub read_packets {
  my ($label) = @_;
  my $limit = 2000;
  while ($limit-- && defined(my $from = recv($tap{$label}, my $packet, 512, 0x40))) { # MSG_DONTWAIT
    my (undef, $protocol, $index, $hardware, $type, $bytes, $mac) = unpack('SnlSCCa6', $from);
    my $direction = $type == 4 ? 'out' : $type == 3 ? 'other' : 'in';
    my $device = interface_name($label, $index);
    if ($protocol == 0x0806) { note_arp($label, $device, $direction, $packet) if length $packet >= 28; next }
    my ($tunnel, $outer) = ('plain', $packet);
    my $kind = probe_kind($packet);
    $inner_arp = '';
    if (!defined $kind and my ($name, $inner) = decapsulated($packet)) {
      ($tunnel, $kind) = ($name, probe_kind($inner));
      $packet = $inner if defined $kind;
      note_arp($label, $device, $direction, $inner_arp) if length $inner_arp >= 28;
    }
    next unless defined $kind;
    my $size = unpack('n', substr $packet, 2, 2);
    my $sender = $bytes == 6 ? mac($mac) : '-';
    my $key = join ' ', 'frame', $label, $device, $direction, $kind, $tunnel, ends($outer), ends($packet), $size, $sender;
    $count{$key}++ if keys %count < 4000;
  }
}
sub read_trace { return sysread($monitor, $trace, 65536, length $trace) }
socket(my $server, PF_UNIX, SOCK_STREAM, 0) or do { finish(); POSIX::_exit(1) };
bind($server, socket_address($guardian)) && listen($server, 4) or do { finish(); POSIX::_exit(1) };
$trace = '';
syswrite $writer, "watch $guardian\n"; close $writer;
my $client;
while (!$client) {
  my $bits = '';
  vec($bits, fileno $_, 1) = 1 for values %tap, $server, $monitor ? $monitor : ();
  select(my $ready = $bits, undef, undef, undef) > 0 or next;
  read_packets($_) for grep { vec($ready, fileno $tap{$_}, 1) } keys %tap;
  read_trace() or undef $monitor if $monitor && vec($ready, fileno $monitor, 1);
  next unless vec($ready, fileno $server, 1) && accept(my $caller, $server);
  my (undef, $user) = unpack('iii', getsockopt($caller, SOL_SOCKET, 17)); # SO_PEERCRED
  $client = $caller if $user == 0;
}
read_packets($_) for keys %tap;
finish();
if ($monitor) { 1 while read_trace() }
my %after = map { counters($_, $pids{$_}) } keys %pids;
my $text = join '', map({ "$_ $count{$_}\n" } sort keys %count), map({ "trace $_\n" } split /\n/, $trace);
for my $key (sort keys %after) {
  my $grown = $after{$key} - ($before{$key} // 0);
  # A rule's number of packets stands before its text, which has spaces.
  $text .= $key =~ /^rule/ ? "grown $grown $key\n" : "$key $grown\n" if $grown > 0;
}
for my $label (sort keys %tap) {
  (undef, $lost) = unpack('LL', getsockopt($tap{$label}, 263, 6)); # PACKET_STATISTICS
  $text .= "lost $label $lost\n" if $lost;
}
$text .= join '', map({ "error $_\n" } @errors), "watched\n";
while (length $text) { my $sent = syswrite($client, $text) or last; substr($text, 0, $sent) = '' }
POSIX::_exit(0);
