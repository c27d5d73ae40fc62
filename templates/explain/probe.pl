# Sends the probe of `provision explain` from this network namespace, and prints the result.
# `icmp ADDRESS ID MAGIC BYTES`: echo requests with the bytes MAGIC (hex) at the start of their data; if
# one is answered, two more of BYTES with "do not fragment". `tcp ADDRESS PORT CLIENT-PORT` connects.
# `udp ADDRESS PORT CLIENT-PORT MAGIC` sends datagrams.
# Prints `sent SIZE`, `answer SIZE`, `connected`, `refused`, `datagram`, `failed NUMBER TEXT` (an error of
# the kernel), and at its end `probed`.

use strict; use warnings; use Socket; use POSIX ();
my ($protocol, $address, @options) = @ARGV;
my $target = inet_aton($address);
$| = 1;
sub failed { print 'failed ', $! + 0, " $!\n" }
sub readable { my ($socket, $seconds) = @_; vec(my $bits = '', fileno $socket, 1) = 1; return select($bits, undef, undef, $seconds) > 0 }
sub checksum {
  my $data = shift;
  $data .= "\0" if length($data) % 2;
  my $sum = 0;
  $sum += $_ for unpack 'n*', $data;
  $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
  return ~$sum & 0xffff;
}
sub icmp {
  my ($id, $magic, $large) = @options;
  socket(my $socket, PF_INET, SOCK_RAW, 1) or return failed();
  # IP_MTU_DISCOVER: 3 (IP_PMTUDISC_PROBE) sets DF, and does not use a path MTU that the kernel remembers.
  my $sequence = 0;
  my $ask = sub {
    my ($size, $seconds) = @_;
    my $data = pack('H*', $magic);
    $data .= "\0" x ($size - 28 - length $data);
    my $head = pack('nn', $id, ++$sequence);
    my $packet = pack('CCn', 8, 0, checksum(pack('CCn', 8, 0, 0) . $head . $data)) . $head . $data;
    if (!defined send($socket, $packet, 0, pack_sockaddr_in(0, $target))) { failed(); return 0 }
    print "sent $size\n";
    for (1 .. 10) { # other echo replies come by the same socket
      readable($socket, $seconds / 10) or next;
      my $from = recv($socket, my $answer, 65536, 0x40) or next; # MSG_DONTWAIT
      my $inner = substr $answer, 4 * (ord($answer) & 15);
      next if length $inner < 16;
      my ($type, undef, undef, $number, $order) = unpack('CCnnn', $inner);
      next unless $type == 0 && $number == $id && $order == $sequence && substr($inner, 8, 8) eq pack('H*', $magic);
      print "answer $size\n";
      return 1;
    }
    return 0;
  };
  my $answers = 0;
  $answers += $ask->(71, $_) for 0.3, 0.3, 0.8;
  return unless $answers && $large > 71;
  setsockopt($socket, 0, 10, pack('i', 3));
  $ask->($large, $_) for 0.3, 0.8;
}
sub bound {
  my ($kind, $client_port) = @_;
  socket(my $socket, PF_INET, $kind, 0) or return failed();
  setsockopt($socket, SOL_SOCKET, SO_REUSEADDR, 1);
  bind($socket, pack_sockaddr_in($client_port, INADDR_ANY)) or return failed();
  return $socket;
}
sub tcp {
  my ($port, $client_port) = @options;
  my $socket = bound(SOCK_STREAM, $client_port);
  return unless ref $socket;
  fcntl($socket, 4, 2048); # F_SETFL, O_NONBLOCK
  print "sent 60\n";
  my $done = connect($socket, pack_sockaddr_in($port, $target));
  if (!$done && $! == POSIX::EINPROGRESS()) {
    vec(my $bits = '', fileno $socket, 1) = 1;
    select(undef, $bits, undef, 2.4) > 0 or return; # long enough for a second SYN
    $! = unpack('i', getsockopt($socket, SOL_SOCKET, SO_ERROR));
    $done = $! == 0;
  }
  return print "connected\n" if $done;
  $! == POSIX::ECONNREFUSED() ? print "refused\n" : failed();
}
sub udp {
  my ($port, $client_port, $magic) = @options;
  my $socket = bound(SOCK_DGRAM, $client_port);
  return unless ref $socket;
  connect($socket, pack_sockaddr_in($port, $target)) or return failed();
  for (1, 2) {
    if (!defined send($socket, pack('H*', $magic), 0)) { $! == POSIX::ECONNREFUSED() ? print "refused\n" : failed(); return }
    print 'sent ', 28 + length($magic) / 2, "\n";
    next unless readable($socket, 0.5);
    return print "datagram\n" if defined recv($socket, my $answer, 65536, 0);
    $! == POSIX::ECONNREFUSED() ? print "refused\n" : failed();
    return;
  }
}
{ icmp => \&icmp, tcp => \&tcp, udp => \&udp }->{$protocol}->();
print "probed\n";
