# Sends small messages back to their sender, in a network namespace. Four processes accept
# connections, so that short ones do not wait for a single process.
# Arguments: seconds after which it ends by itself, the address and the port to listen at.
# Prints its process id, which leads a group of its own, once the port is open.

use strict; use warnings; use Socket; use Fcntl; use POSIX ();
my ($seconds, $address, $port) = @ARGV;
socket(my $server, PF_INET, SOCK_STREAM, 6) or die "socket: $!\n";
setsockopt($server, SOL_SOCKET, SO_REUSEADDR, pack('l', 1));
bind($server, sockaddr_in($port, inet_aton($address))) or die "port $port: $!\n";
listen($server, 1024) or die "listen: $!\n";
fcntl($server, F_SETFL, O_NONBLOCK);
my $child = fork();
die "fork: $!\n" unless defined $child;
if ($child) { print "$child\n"; exit 0 }
POSIX::setsid();
open(STDIN, '<', '/dev/null'); open(STDOUT, '>', '/dev/null'); open(STDERR, '>', '/dev/null');
for (1 .. 3) { last unless fork() }
alarm $seconds;
$SIG{PIPE} = 'IGNORE';
my %clients;
vec(my $watched = '', fileno($server), 1) = 1;
while (1) {
  next if select(my $ready = $watched, undef, undef, undef) < 1;
  if (vec($ready, fileno($server), 1) && accept(my $socket, $server)) {
    setsockopt($socket, 6, 1, pack('l', 1)); # TCP_NODELAY
    $clients{fileno $socket} = $socket;
    vec($watched, fileno($socket), 1) = 1;
  }
  for my $number (grep { vec($ready, $_, 1) } keys %clients) {
    my $socket = $clients{$number};
    my $count = sysread($socket, my $message, 65536);
    next if $count && syswrite($socket, $message);
    vec($watched, $number, 1) = 0;
    delete $clients{$number};
    close $socket;
  }
}
