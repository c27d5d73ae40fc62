# Docker's state for the kinds, as `KEY JSON` lines; the program fails where no daemon answers.
# Prelude: look/docker_api.pl
# Keys: docker_info; networks; containers (all, in short); container (each that carries our label,
# inspected); lives (name and process of each of these that runs); netns (its id, and the inode of
# its network namespace); images (all, in short); image (each, inspected). Whatever is removed
# meanwhile is left out.

answer('docker_info', get('/info'));
answer('networks', get('/networks'));
answer('containers', get('/containers/json?all=1'));
my $labelled = get('/containers/json?all=1&filters=%7B%22label%22%3A%5B%22provision%22%5D%7D');
for my $id ($labelled =~ /"Id":"([0-9a-f]{64})"/g) {
  my $pid = inspect($id) or next;
  print "netns $id ", inode($pid, 'net'), "\n";
}
my $images = answer('images', get('/images/json'));
my %inspected;
answer('image', get("/images/$_/json"))
  for grep { not $inspected{$_}++ } $images =~ /"Id":"(sha256:[0-9a-f]{64})"/g;
