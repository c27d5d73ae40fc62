# Sends small messages (64 bytes) to `answer.pl` from a network namespace, for so many seconds.
# Arguments: `rtt` or `requests`, address, port, seconds. Prints
#   rtt <messages> <p50> <p99>         microseconds there and back on one open connection
#   requests <answers> <seconds>       each on a connection of its own, four at a time

use strict; use warnings; use Socket; use POSIX ();
my ($what, $address, $port, $seconds) = @ARGV;
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
sub opened {
  socket(my $link, PF_INET, SOCK_STREAM, 6) or die "socket: $!\n";
  connect($link, $to) or die "connect: $!\n";
  setsockopt($link, 6, 1, pack('l', 1)); # TCP_NODELAY
  return $link;
}
sub asked { # one message there and back
  my ($link) = @_;
  syswrite($link, $message) == 64 or die "send: $!\n";
  my $got = 0;
  while ($got < 64) { my $n = sysread($link, my $chunk, 64 - $got) or die "no answer: $!\n"; $got += $n }
}
if ($what eq 'rtt') {
  my ($link, @took) = (opened());
  asked($link) for 1 .. 50;
  my $end = $clock->() + $seconds;
  my $now = $clock->();
  while ($now < $end) { asked($link); my $then = $now; $now = $clock->(); push @took, $now - $then }
  @took = sort { $a <=> $b } @took;
  printf "rtt %d %.1f %.1f\n", scalar @took, map { 1e6 * $took[int($_ * $#took)] } 0.5, 0.99;
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
    my $link = opened();
    # A reset at the end: no port is left waiting, however many connections there were.
    setsockopt($link, SOL_SOCKET, SO_LINGER, pack('ll', 1, 0));
    asked($link);
    close $link;
    $count++;
  }
  syswrite($in, "$count\n");
  POSIX::_exit(0);
}
my $all = 0;
for my $pipe (@pipes) { my $line = <$pipe>; die "a caller failed\n" unless defined $line; $all += $line }
printf "requests %d %.6f\n", $all, $clock->() - $begin;
