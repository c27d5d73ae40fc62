# Sends an echo request every 5 ms until SIGTERM, for a minute at most, and then prints the longest
# time without a reply. Argument: the address to ping. The first reply prints an empty line. It sleeps
# in between: iputils' ping with this interval would fill a processor.

use strict; use warnings; use Socket;
$| = 1;
my ($peer) = @ARGV;
my ($last, $longest, $sequence, $answered, $ended, $id) = (0, 0, 0, 0, 0, $$ & 0xffff);
$SIG{TERM} = sub { $ended = 1 };
socket(my $icmp, PF_INET, SOCK_RAW, 1) or die "socket: $!";
my $to = sockaddr_in(0, inet_aton($peer));
sub send_echo { # RFC 792
  my $packet = pack('CCnnn', 8, 0, 0, $id, ++$sequence & 0xffff);
  my $sum = unpack('%32n*', $packet);
  $sum = ($sum >> 16) + ($sum & 0xffff) while $sum >> 16;
  substr($packet, 2, 2) = pack('n', ~$sum & 0xffff);
  send($icmp, $packet, 0, $to);
}
sub take_reply {
  recv($icmp, my $packet, 1500, 0) // return;
  my ($type, undef, undef, $echo_id) = unpack('CCnn', substr($packet, 4 * (ord($packet) & 15), 6));
  return unless $type == 0 && $echo_id == $id;
  # socket(7), SIOCGSTAMP: the time at which the kernel received it, however late we read it.
  ioctl($icmp, 0x8906, my $when = "\0" x 32) or return;
  my ($seconds, $micro) = unpack('l! l!', $when);
  my $now = $seconds + $micro / 1e6;
  print "\n" unless $last;
  $longest = $now - $last if $last && $now - $last > $longest;
  ($last, $answered) = ($now, $sequence);
}
until ($ended || $sequence > 12000) {
  send_echo();
  my $left = 0.005;
  while ($left > 0 && !$ended) {
    my $bits = '';
    vec($bits, fileno($icmp), 1) = 1;
    (my $ready, $left) = select($bits, undef, undef, $left); # Linux returns the time left
    last if $ready <= 0;
    take_reply();
  }
}
# Also a silence that has not ended: by the requests that nobody has answered.
my $open = ($sequence - $answered) * 0.005;
$longest = $open if $open > $longest;
printf "\@note longest silence to $peer: %d ms\n", $longest * 1000 if $last;
