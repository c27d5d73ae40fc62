# Sends UDP datagrams from an address that no machine has to containers of other hosts, as a machine on
# the LAN could that takes their host for its router. Nobody answers, so nothing is printed.
# Arguments: for each container the interface, the host's address, the source, and the container's.

use strict; use warnings; use Socket; use Fcntl;
my @rest = @ARGV;
sub interface_index { # the number of an interface
  open(my $file, '<', "/sys/class/net/$_[0]/ifindex") or return;
  return scalar(<$file>) + 0;
}
sub hardware_address { # the MAC address of a neighbour, as six bytes; the kernel asks by ARP
  my ($device, $address) = @_;
  socket(my $asking, PF_INET, SOCK_DGRAM, 17) or return;
  for my $try (1 .. 30) {
    send($asking, '', 0, sockaddr_in(9, inet_aton($address))) if $try % 10 == 1;
    select(undef, undef, undef, 0.1);
    open(my $table, '<', '/proc/net/arp') or return;
    while (<$table>) {
      my ($ip, undef, undef, $mac, undef, $link) = split;
      return pack('H12', $mac =~ tr/://dr) if $ip eq $address && $link eq $device && $mac !~ /^[0:]+$/;
    }
  }
  return;
}
sub checksum { # RFC 1071
  my $sum = unpack '%32n*', $_[0];
  $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
  return ~$sum & 0xffff;
}
sub datagram { # an IPv4 packet with UDP to port 9; a checksum of 0 means that there is none
  my ($source, $target) = map { inet_aton($_) } @_;
  my $udp = pack('nnnn', 9, 9, 17, 0) . 'provision';
  my $head = pack('CCnnnCCn', 0x45, 0, 20 + length $udp, 0, 0, 64, 17, 0) . $source . $target;
  substr($head, 10, 2) = pack('n', checksum($head));
  return $head . $udp;
}
# linux/if_packet.h: AF_PACKET 17; SOCK_DGRAM begins at IP, the kernel adds the Ethernet header.
socket(my $link, 17, SOCK_DGRAM, 0) or die "socket: $!\n";
while (@rest) {
  my ($device, $router, $source, $target) = splice(@rest, 0, 4);
  my $mac = hardware_address($device, $router) // next;
  my $index = interface_index($device) // next;
  my $to = pack('Sn l S C C a8', 17, 0x0800, $index, 1, 0, 6, $mac);
  for (1 .. 3) { send($link, datagram($source, $target), 0, $to); select(undef, undef, undef, 0.05) }
}
