# Connects to ports, by TCP and UDP, and compares what comes back.
# Arguments: the caller's name, bytes of data for TCP, seconds, then for each port: name of its
# target, label, protocol, address, port, and `own` where the listener of the checks answers, or
# `held` where a program of the container does.
# Prints `answer LABEL FROM TO STATUS TEXT` for each. The answer of a container's program is printed
# as its length and checksum, without the line of HTTP that holds the time.

use strict; use warnings; use Socket; use Fcntl; use Errno;
$| = 1;
my ($from, $size, $seconds, @rest) = @ARGV;
my $stream = join '', map { chr(($_ * 7 + $_ / 251) % 256) } 1 .. $size;
my $datagram = substr($stream, 0, 1024);
my $request = "GET / HTTP/1.0\r\n\r\n";
my %pending;
sub finish {
  my ($port, $status, $text) = @_;
  $text =~ s/\s+/ /g;
  print "answer $port->{label} $from $port->{name} $status $text\n";
  my $socket = delete $port->{socket};
  if ($socket) { delete $pending{fileno $socket}; close $socket }
}
sub check_listener { # the listener answers with the address that it saw, then our data
  my ($port, $sent) = @_;
  my ($address, $echoed) = split /\n/, $port->{answer}, 2;
  if (!defined $echoed) { finish($port, 1, 'no answer') }
  elsif ($echoed ne $sent) { finish($port, 1, 'other data came back: ' . length($echoed) . ' of ' . length($sent) . ' bytes') }
  else { finish($port, 0, "same $address") }
}
sub report_program { # the answer of a program of the container
  my ($port) = @_;
  (my $text = $port->{answer}) =~ s/^Date:[^\n]*\n//mi;
  finish($port, 0, sprintf('program %d %d', length $text, unpack('%32C*', $text)));
}
sub connect_port {
  my ($port) = @_;
  my $tcp = $port->{protocol} eq 'tcp';
  socket(my $socket, PF_INET, $tcp ? SOCK_STREAM : SOCK_DGRAM, $tcp ? 6 : 17) or return finish($port, 1, "socket: $!");
  fcntl($socket, F_SETFL, O_NONBLOCK);
  my $started = connect($socket, sockaddr_in($port->{port}, inet_aton($port->{address}))) || $!{EINPROGRESS};
  $port->{socket} = $socket;
  $pending{fileno $socket} = $port;
  return finish($port, 1, "connect: $!") unless $started;
  $port->{rest} = $port->{held} ? $request : $stream if $tcp;
}
while (@rest) {
  my %port;
  @port{qw(name label protocol address port how)} = splice(@rest, 0, 6);
  $port{held} = $port{how} eq 'held';
  @port{qw(answer rest)} = ('', '');
  connect_port(\%port);
}
my ($end, $resend_at, $connect_end) = (time() + $seconds, 0, time() + 6);
while (%pending && time() < $end) {
  if (time() >= $connect_end) { # nothing at all has come back: three SYNs, or three datagrams
    finish($_, 1, 'no answer within 5 s') for grep { $_->{protocol} eq 'udp' ? !$_->{held} : length $_->{rest} == length($_->{held} ? $request : $stream) } values %pending;
  }
  if (time() >= $resend_at) { # a datagram may be lost: send it every 2 s
    for my $port (grep { $_->{protocol} eq 'udp' } values %pending) {
      my $sent = send($port->{socket}, $port->{held} ? $request : $datagram, 0);
      finish($port, 1, "send: $!") unless defined $sent || $!{EAGAIN};
    }
    $resend_at = time() + 2;
  }
  my ($reading, $writing) = ('', '');
  for my $number (keys %pending) { vec($reading, $number, 1) = 1; vec($writing, $number, 1) = 1 if length $pending{$number}{rest} }
  select($reading, $writing, undef, 1);
  for my $number (keys %pending) {
    my $port = $pending{$number};
    if (vec($writing, $number, 1)) {
      my $sent = syswrite($port->{socket}, $port->{rest});
      if (!defined $sent) { finish($port, 1, "connect or send: $!") unless $!{EAGAIN}; next }
      substr($port->{rest}, 0, $sent) = '';
      shutdown($port->{socket}, 1) unless length $port->{rest} || $port->{held};
    }
    next unless vec($reading, $number, 1);
    my $count = sysread($port->{socket}, my $chunk, 65536);
    if (!defined $count) { finish($port, 1, "receive: $!") unless $!{EAGAIN}; next }
    $port->{answer} .= $chunk;
    if ($port->{protocol} eq 'udp') { $port->{held} ? report_program($port) : check_listener($port, $datagram); next }
    if ($port->{held}) { report_program($port) if !$count || length $port->{answer} > 65536 }
    elsif (!$count) { check_listener($port, $stream) }
  }
}
for my $port (values %pending) {
  # A program need not understand HTTP: a connection that it accepted is an answer.
  if ($port->{held} && $port->{protocol} eq 'tcp' && !length $port->{rest}) { report_program($port) }
  else { finish($port, 1, "no answer within $seconds s") }
}
