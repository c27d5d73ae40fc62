# Sends an echo request each 5 ms until SIGTERM, for a minute at most, and then says how long no
# reply came at most. Argument: whom to ask. It sleeps between: iputils' ping would fill a processor.

use strict; use warnings; use Socket;
my ($peer) = @ARGV;
my ($last, $most, $sequence, $over, $id) = (0, 0, 0, 0, $$ & 0xffff);
$SIG{TERM} = sub { $over = 1 };
socket(my $icmp, PF_INET, SOCK_RAW, 1) or die "socket: $!";
my $to = sockaddr_in(0, inet_aton($peer));
sub ask { # RFC 792
  my $packet = pack('CCnnn', 8, 0, 0, $id, ++$sequence & 0xffff);
  my $sum = unpack('%32n*', $packet);
  $sum = ($sum >> 16) + ($sum & 0xffff) while $sum >> 16;
  substr($packet, 2, 2) = pack('n', ~$sum & 0xffff);
  send($icmp, $packet, 0, $to);
}
sub heard {
  recv($icmp, my $packet, 1500, 0) // return;
  my ($type, undef, undef, $whose) = unpack('CCnn', substr($packet, 4 * (ord($packet) & 15), 6));
  return unless $type == 0 && $whose == $id;
  # socket(7), SIOCGSTAMP: when the kernel received it, however late this program came to read it.
  ioctl($icmp, 0x8906, my $when = "\0" x 32) or return;
  my ($seconds, $micro) = unpack('l! l!', $when);
  my $now = $seconds + $micro / 1e6;
  $most = $now - $last if $last && $now - $last > $most;
  $last = $now;
}
until ($over || $sequence > 12000) {
  ask();
  my $left = 0.005;
  while ($left > 0 && !$over) {
    my $bits = '';
    vec($bits, fileno($icmp), 1) = 1;
    (my $ready, $left) = select($bits, undef, undef, $left); # Linux says how much is left
    last if $ready <= 0;
    heard();
  }
}
printf "\@note longest silence to $peer: %d ms\n", $most * 1000 if $most;
