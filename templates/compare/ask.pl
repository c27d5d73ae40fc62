# Sends small messages (64 bytes) to answer.pl from a network namespace, for some seconds.
# Arguments: `rtt` or `requests`, address, port, seconds. Prints
#   rtt MESSAGES P50 P99        microseconds there and back on one open connection
#   requests ANSWERS SECONDS    each on a connection of its own, four at a time

use strict; use warnings; use Socket; use POSIX ();
my ($measurement, $address, $port, $seconds) = @ARGV;
# perl-base has no Time::HiRes; clock_gettime(2) has another number on each kind of machine.
my %numbers = (x86_64 => 228, aarch64 => 113, riscv64 => 113, loongarch64 => 113, armv7l => 263,
  armv6l => 263, i686 => 265, i586 => 265, ppc64le => 246, ppc64 => 246, s390x => 260);
my $number = $numbers{(POSIX::uname())[4]};
my $clock;
if (eval { require Time::HiRes }) { $clock = sub { Time::HiRes::clock_gettime(1) } }
elsif (defined $number && length pack('j', 0) == 8) {
  $clock = sub { my $at = "\0" x 16; syscall($number, 1, $at); my ($s, $ns) = unpack('jj', $at); return $s + $ns / 1e9 };
}
else { die "no fine clock: install the package perl\n" }
my $to = sockaddr_in($port, inet_aton($address));
my $message = 'm' x 64;
sub open_connection {
  socket(my $socket, PF_INET, SOCK_STREAM, 6) or die "socket: $!\n";
  connect($socket, $to) or die "connect: $!\n";
  setsockopt($socket, 6, 1, pack('l', 1)); # TCP_NODELAY
  return $socket;
}
sub exchange { # one message there and back
  my ($socket) = @_;
  syswrite($socket, $message) == 64 or die "send: $!\n";
  my $received = 0;
  while ($received < 64) { my $n = sysread($socket, my $chunk, 64 - $received) or die "no answer: $!\n"; $received += $n }
}
if ($measurement eq 'rtt') {
  my ($socket, @durations) = (open_connection());
  exchange($socket) for 1 .. 50;
  my $end = $clock->() + $seconds;
  my $now = $clock->();
  while ($now < $end) { exchange($socket); my $before = $now; $now = $clock->(); push @durations, $now - $before }
  @durations = sort { $a <=> $b } @durations;
  printf "rtt %d %.1f %.1f\n", scalar @durations, map { 1e6 * $durations[int($_ * $#durations)] } 0.5, 0.99;
  exit 0;
}
my ($begin, @pipes) = ($clock->());
for (1 .. 4) {
  pipe(my $out, my $in) or die "pipe: $!\n";
  my $child = fork();
  die "fork: $!\n" unless defined $child;
  if ($child) { close $in; push @pipes, $out; next }
  my ($count, $end) = (0, $clock->() + $seconds);
  while ($clock->() < $end) {
    my $socket = open_connection();
    # A reset at the end: no port is left waiting, however many connections there were.
    setsockopt($socket, SOL_SOCKET, SO_LINGER, pack('ll', 1, 0));
    exchange($socket);
    close $socket;
    $count++;
  }
  syswrite($in, "$count\n");
  POSIX::_exit(0);
}
my $all = 0;
for my $pipe (@pipes) { my $line = <$pipe>; die "a caller failed\n" unless defined $line; $all += $line }
printf "requests %d %.6f\n", $all, $clock->() - $begin;
