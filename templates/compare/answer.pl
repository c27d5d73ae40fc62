# Answers small messages in a network namespace: what comes in goes back. Four processes take turns
# at the door, so that short connections do not wait for one of them. Arguments: seconds after which
# it ends by itself, the address and the port to listen at. Prints its process id, which leads a
# group of its own, once the port is open.

use strict; use warnings; use Socket; use Fcntl; use POSIX ();
my ($seconds, $address, $port) = @ARGV;
socket(my $door, PF_INET, SOCK_STREAM, 6) or die "socket: $!\n";
setsockopt($door, SOL_SOCKET, SO_REUSEADDR, pack('l', 1));
bind($door, sockaddr_in($port, inet_aton($address))) or die "port $port: $!\n";
listen($door, 1024) or die "listen: $!\n";
fcntl($door, F_SETFL, O_NONBLOCK);
my $child = fork();
die "fork: $!\n" unless defined $child;
if ($child) { print "$child\n"; exit 0 }
POSIX::setsid();
open(STDIN, '<', '/dev/null'); open(STDOUT, '>', '/dev/null'); open(STDERR, '>', '/dev/null');
for (1 .. 3) { last unless fork() }
alarm $seconds;
$SIG{PIPE} = 'IGNORE';
my %open;
vec(my $watched = '', fileno($door), 1) = 1;
while (1) {
  next if select(my $ready = $watched, undef, undef, undef) < 1;
  if (vec($ready, fileno($door), 1) && accept(my $link, $door)) {
    setsockopt($link, 6, 1, pack('l', 1)); # TCP_NODELAY
    $open{fileno $link} = $link;
    vec($watched, fileno($link), 1) = 1;
  }
  for my $number (grep { vec($ready, $_, 1) } keys %open) {
    my $link = $open{$number};
    my $got = sysread($link, my $message, 65536);
    next if $got && syswrite($link, $message);
    vec($watched, $number, 1) = 0;
    delete $open{$number};
    close $link;
  }
}
