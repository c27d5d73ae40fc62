# Docker's state for the kinds, as `KEY JSON` lines; the program fails where no daemon answers.
# Prelude: look/docker_api.pl
# Keys: docker_info; networks; containers (all, in short); container (each that carries our label,
# inspected); lives (name and process of each of these that runs); netns (its id, and the inode of
# its network namespace); nsid (its id, and the number by which `ip` calls this namespace, -1 if no
# interface of the host leads into it); images (all, in short); image (each, inspected). Whatever is
# removed meanwhile is left out.

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
answer('docker_info', get('/info'));
answer('networks', get('/networks'));
answer('containers', get('/containers/json?all=1'));
my $labelled = get('/containers/json?all=1&filters=%7B%22label%22%3A%5B%22provision%22%5D%7D');
for my $id ($labelled =~ /"Id":"([0-9a-f]{64})"/g) {
  my $pid = inspect($id) or next;
  print "netns $id ", inode($pid, 'net'), "\n";
  my $number = nsid($pid);
  print "nsid $id $number\n" if defined $number;
}
my $images = answer('images', get('/images/json'));
my %inspected;
answer('image', get("/images/$_/json"))
  for grep { not $inspected{$_}++ } $images =~ /"Id":"(sha256:[0-9a-f]{64})"/g;
