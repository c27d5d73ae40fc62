# Answers TCP and UDP inside a network namespace: sends each caller the address that it came from,
# then the data that it sent. Ends by itself, and with the process whose namespace it is.
# Arguments: seconds, seconds of one connection, that process's id, bytes of data, the address to
# listen at, then ports as `tcp/80` and `udp/53`.
# Prints its own TCP port, its process id, and the ports that a program of the container holds.

use strict; use warnings; use Socket; use POSIX ();
my ($seconds, $connection_seconds, $owner, $limit, $at, @ports) = @ARGV;
my $local = inet_aton($at);
sub open_port { # a listening socket; undef where another program listens already
  my ($protocol, $number) = @_;
  my $tcp = $protocol eq 'tcp';
  socket(my $socket, PF_INET, $tcp ? SOCK_STREAM : SOCK_DGRAM, $tcp ? 6 : 17) or die "socket: $!";
  setsockopt($socket, SOL_SOCKET, SO_REUSEADDR, pack('l', 1)) if $tcp;
  if (!bind($socket, sockaddr_in($number, $local))) { return undef if $!{EADDRINUSE}; die "bind: $!" }
  return $socket unless $tcp;
  return $socket if listen($socket, 4096); # all peers connect at once; the kernel caps it
  return undef if $!{EADDRINUSE};
  die "listen: $!";
}
my $server = open_port('tcp', 0);
my ($own_port) = sockaddr_in(getsockname($server));
my (%streams, %datagrams, @held);
$streams{fileno $server} = $server;
for my $spec (@ports) {
  my $socket = open_port(split m{/}, $spec);
  if (!defined $socket) { push @held, $spec }
  elsif ($spec =~ /^tcp/) { $streams{fileno $socket} = $socket }
  else { $datagrams{fileno $socket} = $socket }
}
my $child = fork();
die "fork: $!" unless defined $child;
if ($child) { print join(' ', $own_port, $child, @held), "\n"; exit 0 }
POSIX::setsid();
open(STDIN, '<', '/dev/null'); open(STDOUT, '>', '/dev/null'); open(STDERR, '>', '/dev/null');
$SIG{CHLD} = 'IGNORE';
alarm $seconds;
my $watched = '';
vec($watched, $_, 1) = 1 for keys %streams, keys %datagrams;
while (1) {
  my $ready = $watched;
  if (select($ready, undef, undef, 1) < 1) {
    # A verify that was cut off ends no listener: it must not keep the container's namespace.
    exit 0 unless -e "/proc/$owner";
    next;
  }
  for my $number (grep { vec($ready, $_, 1) } keys %datagrams) {
    my $peer = recv($datagrams{$number}, my $data, 65536, 0) or next;
    my (undef, $address) = sockaddr_in($peer);
    send($datagrams{$number}, inet_ntoa($address) . "\n" . $data, 0, $peer);
  }
  serve($streams{$_}) for grep { vec($ready, $_, 1) } keys %streams;
}
sub serve {
  my $peer = accept(my $client, $_[0]) or return;
  my $answerer = fork();
  if (!defined $answerer || $answerer) { close $client; return }
  close $_ for values %streams, values %datagrams;
  alarm $connection_seconds;
  my (undef, $address) = sockaddr_in($peer);
  my $data = '';
  while (length $data < $limit && sysread($client, my $chunk, 65536)) { $data .= $chunk }
  my $answer = inet_ntoa($address) . "\n" . $data;
  while (length $answer) { my $sent = syswrite($client, $answer) or last; substr($answer, 0, $sent) = '' }
  POSIX::_exit(0);
}
