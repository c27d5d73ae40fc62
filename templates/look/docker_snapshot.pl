# Docker's state for the kinds, as `KEY JSON` lines; the program fails where no daemon answers.
# Prelude: look/docker_api.pl
# Keys: docker_info; networks; containers (all, in short); container (each that carries our label,
# inspected); lives (name and process of each of these that runs); netns (its id, and the inode of
# its network namespace); nsid (its id, and the number by which `ip` calls this namespace, -1 if no
# interface of the host leads into it); local (its id, and the IPv4 addresses in the namespace);
# onlink (its id, and the ranges that are on a link there: the kernel has no such route of a link that
# is down); extra (its process, if the namespace has more interfaces than lo and eth0); images (all,
# in short); image (each, inspected). Whatever is removed meanwhile is left out.

# The kernel answers RTM_GETNSID (90) for a process by RTM_NEWNSID (88); of its attributes,
# NETNSA_PID (2) asks, and NETNSA_NSID (1) answers. See linux/net_namespace.h.
socket(my $rtnetlink, 16, SOCK_RAW, 0);
sub nsid {
  my ($pid) = @_;
  send($rtnetlink, pack('LSSLLCx3SSL', 28, 90, 1, 0, 0, 0, 8, 2, $pid), 0) or return undef;
  defined recv($rtnetlink, my $reply, 4096, 0) or return undef;
  my (undef, $type, undef, undef, undef, undef, undef, $attribute, $number) =
    unpack('LSSLLCx3SSl', $reply);
  return $type == 88 && $attribute == 1 ? $number : undef;
}
# /proc tells of a namespace without entering it, which would take a process for each.
sub of_namespace {
  my ($pid, $file) = @_;
  open(my $lines, '<', "/proc/$pid/net/$file") or return ();
  return <$lines>;
}
# Modules of tunnels add one of these to every namespace.
my $usual = qr/^(?:lo|eth0|tunl0|gre0|gretap0|erspan0|sit0|ip_vti0|ip6_vti0|ip6tnl0|ip6gre0)$/;
sub inside {
  my ($id, $pid) = @_;
  my ($address, %local, @ranges);
  for (of_namespace($pid, 'fib_trie')) {
    $address = $1 if /\|-- ([0-9.]+)/;
    $local{$address} = 1 if m{/32 host LOCAL};
  }
  for (of_namespace($pid, 'route')) {
    my (undef, $range, $gateway, undef, undef, undef, undef, $mask) = split;
    next unless ($gateway // '') =~ /^0{8}$/;
    # The kernel prints the four bytes of an address as one number in its own byte order.
    my $length = unpack('%32b*', pack('L', hex $mask));
    push @ranges, join('.', unpack('C4', pack('L', hex $range))) . "/$length";
  }
  print join(' ', 'local', $id, sort keys %local), "\n", join(' ', 'onlink', $id, @ranges), "\n";
  my @names = map { /^\s*([^:\s]+):/ ? $1 : () } of_namespace($pid, 'dev');
  print "extra $pid\n" if grep { not /$usual/ } @names;
}
docker_info();
answer('networks', get('/networks'));
answer('containers', get('/containers/json?all=1'));
my $labelled = get_ours('/containers/json?all=1&');
for my $id ($labelled =~ /"Id":"([0-9a-f]{64})"/g) {
  my $pid = inspect($id) or next;
  print "netns $id ", inode($pid, 'net'), "\n";
  my $number = nsid($pid);
  print "nsid $id $number\n" if defined $number;
  inside($id, $pid);
}
my $images = answer('images', get('/images/json'));
my %inspected;
answer('image', get("/images/$_/json"))
  for grep { not $inspected{$_}++ } $images =~ /"Id":"(sha256:[0-9a-f]{64})"/g;
