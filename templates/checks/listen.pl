# Answers TCP inside a network namespace: tells each caller the address it came from, and sends
# back what it got. Prints its port and process id once it listens; ends by itself.
use strict; use warnings; use Socket; use POSIX ();
my ($seconds, $limit) = @ARGV;
socket(my $server, PF_INET, SOCK_STREAM, getprotobyname('tcp') || 6) or die "socket: $!";
setsockopt($server, SOL_SOCKET, SO_REUSEADDR, pack('l', 1));
bind($server, sockaddr_in(0, INADDR_ANY)) or die "bind: $!";
listen($server, 256) or die "listen: $!";
my ($port) = sockaddr_in(getsockname($server));
my $child = fork();
die "fork: $!" unless defined $child;
if ($child) { print "$port $child\n"; exit 0 }
POSIX::setsid();
open(STDIN, '<', '/dev/null'); open(STDOUT, '>', '/dev/null'); open(STDERR, '>', '/dev/null');
$SIG{CHLD} = 'IGNORE';
alarm $seconds;
while (1) {
  my $peer = accept(my $client, $server) or next;
  my $answerer = fork();
  if (!defined $answerer || $answerer) { close $client; next }
  close $server;
  alarm 20;
  my (undef, $address) = sockaddr_in($peer);
  my $data = '';
  while (length $data < $limit && sysread($client, my $chunk, 65536)) { $data .= $chunk }
  my $answer = inet_ntoa($address) . "\n" . $data;
  while (length $answer) { my $sent = syswrite($client, $answer) or last; substr($answer, 0, $sent) = '' }
  POSIX::_exit(0);
}
