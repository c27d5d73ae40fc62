# Checks the path from this network namespace to all others of its network at once: small pings,
# pings that fill the MTU and may not be fragmented, and TCP with data that must come back whole.
# Arguments: name, bytes of data, seconds, then name, address, port and MTU of each target.
# Prints `answer CHECK FROM TO STATUS TEXT` for each check. A target that answers no ping costs 2.5 s
# for all its checks, and delays none of the others: all TCP connections are opened before the first
# ping, and carry data after the last one. Replies that come late still count.

use strict; use warnings; use Socket; use Fcntl; use Errno;
$| = 1;
my ($from, $size, $seconds, @rest) = @ARGV;
my @targets;
while (@rest) { my %target; @target{qw(name address port mtu)} = splice(@rest, 0, 4); push @targets, \%target }
# The smallest perl has no clock of less than a second: then no time is measured.
my $clock = eval { require Time::HiRes; \&Time::HiRes::time } || sub { 0 };
sub now { return $clock->() || time() }
sub answer { my ($check, $target, $status, $text) = @_; $text =~ s/\s+/ /g; print "answer $check $from $target->{name} $status $text\n" }
sub is_readable { my ($bits, $seconds) = @_; my $readable = select($bits, undef, undef, $seconds); return $readable > 0 }

socket(my $icmp, PF_INET, SOCK_RAW, 1) or die "socket: $!";
# SO_RCVBUFFORCE (33), because the default of net.core.rmem_max has room for 90 replies of full size.
# A reply takes up to 4 KiB of the buffer, and all may come before the first is read.
my $room = pack('l', 4194304 + 8192 * @targets);
setsockopt($icmp, SOL_SOCKET, 33, $room) or setsockopt($icmp, SOL_SOCKET, SO_RCVBUF, $room);
my $id = $$ & 0xffff;
# linux/in.h: IP_MTU_DISCOVER 10, IP_PMTUDISC_DO 2: never fragment, and use the path MTU that
# routers reported.
setsockopt($icmp, 0, 10, pack('l', 2)) or die "setsockopt: $!";

sub send_echo { # RFC 792: type 8, code 0, checksum, identifier, sequence
  my ($target, $sequence, $bytes) = @_;
  my $head = pack('CCnnn', 8, 0, 0, $id, $sequence);
  my $packet = $head . ('p' x ($bytes - length $head));
  my $sum = unpack('%32n*', length($packet) % 2 ? "$packet\0" : $packet);
  $sum = ($sum >> 16) + ($sum & 0xffff) while $sum >> 16;
  substr($packet, 2, 2) = pack('n', ~$sum & 0xffff);
  $target->{sent}{$sequence} = $clock->();
  return 1 if send($icmp, $packet, 0, sockaddr_in(0, inet_aton($target->{address})));
  $target->{errors}{$sequence} = "send: $!";
  $target->{errors}{$sequence} .= remembered($target) if $!{EMSGSIZE};
  return 0;
}
sub remembered { # the path MTU that a router reported earlier: the kernel keeps it for 10 minutes
  my ($target) = @_;
  my $route = `ip -4 -o route get $target->{address} 2>/dev/null` // '';
  return $route =~ /expires (\d+)sec.* mtu (\d+)|mtu (\d+).* expires (\d+)sec/
    ? sprintf('; it remembers a path MTU of %d for %d s more', $2 // $3, $1 // $4) : '';
}
my (%replies, %by_address);
push @{$by_address{$_->{address}}}, $_ for @targets;
sub collect { # replies, until all have come or no more come for so many seconds
  my ($expected, $seconds) = @_;
  my ($end, $bits) = (time() + $seconds + 1, '');
  vec($bits, fileno($icmp), 1) = 1;
  while ($expected > 0 && time() < $end && is_readable($bits, $seconds)) {
    my $peer = recv($icmp, my $packet, 65536, 0) or next;
    my $header = 4 * (ord($packet) & 15);
    my ($type, undef, undef, $echo_id, $sequence) = unpack('CCnnn', substr($packet, $header, 8));
    next unless $type == 0 && $echo_id == $id;
    my (undef, $address) = sockaddr_in($peer);
    my $peer_address = inet_ntoa($address);
    next if $replies{$peer_address}{$sequence}++;
    for my $target (@{$by_address{$peer_address} // []}) {
      my $seconds_back = $clock->() - ($target->{sent}{$sequence} // 0);
      $target->{rtt} = $seconds_back if !defined $target->{rtt} || $seconds_back < $target->{rtt};
      # No target that has been silent is waited for.
      $expected-- unless $target->{silent};
    }
  }
}
sub is_silent { my ($target) = @_; return !$replies{$target->{address}} }
sub pings { # rounds of echo requests to all targets; a target that is silent is not waited for
  my ($first, $rounds, $bytes) = @_;
  for my $round (0 .. $rounds - 1) {
    my @sent = grep { send_echo($_, $first + $round, $bytes || $_->{mtu} - 20) } @targets;
    collect(scalar(grep { !$_->{silent} } @sent), 2);
    $_->{silent} ||= is_silent($_) for @targets;
  }
}
sub answer_pings { # one check: every reply must have come
  my ($check, $first, $rounds, $bytes) = @_;
  for my $target (@targets) {
    my $back = grep { $replies{$target->{address}}{$first + $_} } 0 .. $rounds - 1;
    my $text = sprintf '%d of %d packets of %d bytes came back', $back, $rounds, ($bytes || $target->{mtu} - 20) + 20;
    $text .= sprintf ' in %.2f ms', 1000 * $target->{rtt} if $back && $check eq 'ping' && $clock->();
    my $error = $target->{errors}{$first + $rounds - 1};
    $text .= " ($error)" if $error;
    answer($check, $target, $back == $rounds ? 0 : 1, $text);
  }
}

my $data = join '', map { chr(($_ * 7 + $_ / 251) % 256) } 1 .. $size;
my %pending;
sub finish { my ($target, $status, $text) = @_; answer('tcp', $target, $status, $text); my $socket = delete $target->{socket}; if ($socket) { delete $pending{fileno $socket}; close $socket } }
sub start { # a TCP connection
  my ($target) = @_;
  socket(my $socket, PF_INET, SOCK_STREAM, 6) or return finish($target, 1, "socket: $!");
  fcntl($socket, F_SETFL, O_NONBLOCK);
  @$target{qw(socket rest answer)} = ($socket, $data, '');
  my $started = connect($socket, sockaddr_in($target->{port}, inet_aton($target->{address}))) || $!{EINPROGRESS};
  return finish($target, 1, "connect: $!") unless $started;
  $pending{fileno $socket} = $target;
}

# In 2.5 s, the kernel sends two SYNs.
my $silent_end = now() + 2.5;
start($_) for @targets;
# The first packet may be lost while ARP resolves the target; it does not count.
if (@targets) { my $sent = grep { send_echo($_, 1, 64) } @targets; collect($sent, 1.5) }
$_->{silent} = is_silent($_) for @targets;
my @silent = grep { $_->{silent} } @targets;
pings(10, 3, 64);
pings(20, 2, 0);
my $end = now() + $seconds;
while (%pending && now() < $end) {
  collect(~0, 0) if @silent;
  my ($reading, $writing) = ('', '');
  for my $number (keys %pending) { vec($reading, $number, 1) = 1; vec($writing, $number, 1) = 1 if length $pending{$number}{rest} }
  select($reading, $writing, undef, @silent ? 0.25 : 1);
  for my $number (keys %pending) {
    my $target = $pending{$number};
    if (vec($writing, $number, 1)) {
      my $sent = syswrite($target->{socket}, $target->{rest});
      if (!defined $sent) { finish($target, 1, "connect or send: $!") unless $!{EAGAIN}; next }
      substr($target->{rest}, 0, $sent) = '';
      shutdown($target->{socket}, 1) unless length $target->{rest};
    }
    next unless vec($reading, $number, 1);
    my $count = sysread($target->{socket}, my $chunk, 65536);
    if (!defined $count) { finish($target, 1, "receive: $!") unless $!{EAGAIN}; next }
    if ($count) { $target->{answer} .= $chunk; next }
    my ($address, $back) = split /\n/, $target->{answer}, 2;
    if (!defined $back) { finish($target, 1, 'failed no answer') }
    elsif ($back ne $data) { finish($target, 1, 'failed other data came back: ' . length($back) . " of $size bytes") }
    else { finish($target, 0, "same $address") }
  }
  if (now() >= $silent_end) { # a target that answers no ping gets no more time to accept
    finish($_, 1, 'failed: no connection within 2.5 s') for grep { is_silent($_) && !getpeername $_->{socket} } values %pending;
  }
}
finish($_, 1, "failed no end after $seconds s") for values %pending;
collect(~0, 0);
answer_pings('ping', 10, 3, 64);
answer_pings('mtu', 20, 2, 0);
