# The namespaces of all containers, as `KEY JSON` lines; fails where no daemon answers.
# Prelude: look/docker_api.pl
# Keys: networks; container (each on the host, inspected); spaces (of the host, and of each running
# container: its id or `host`, process, and the inodes of its namespaces net, mnt and pid).

answer('networks', get('/networks'));
sub print_namespaces {
  my ($id, $pid) = @_;
  print join(' ', 'spaces', $id, $pid, map { inode($pid, $_) } qw(net mnt pid)), "\n";
}
print_namespaces('host', 1);
for my $id (get('/containers/json?all=1') =~ /"Id":"([0-9a-f]{64})"/g) {
  my $pid = inspect($id) or next;
  print_namespaces($id, $pid);
}
