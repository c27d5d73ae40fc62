# Asks the registries of images for them, as the first question of a pull: dockerd asks, so its
# mirrors and settings count. It does not have the logins of `docker login`, which the command
# brings to a pull: where root has some, a refusal tells nothing.
# Prelude: look/docker_api.pl
# Arguments: references of images
# Prints `missing REFERENCE MESSAGE` for each that cannot be pulled; MESSAGE is one line.

my @references = @ARGV;
my $config = '';
if (open(my $file, '<', '/root/.docker/config.json')) { local $/; $config = <$file> // '' }
my $logins = $config =~ /"(?:auth|credsStore|credHelpers)"/;
$| = 1;
$SIG{ALRM} = sub {
  print "missing $references[0] no answer from its registry within 20 s\n" if @references;
  exit 0;
};
alarm 20;
while (@references) {
  my ($status, $body) = ask("/distribution/$references[0]/json");
  my $reference = shift @references;
  next if $status == 200;
  my ($message) = $body =~ /"message":"((?:[^"\\]|\\.)*)"/;
  $message //= "status $status";
  next if $logins and $message =~ /denied|unauthorized|authentication|credentials|forbidden/i;
  $message =~ s/\\[nrt]/ /g; $message =~ s/\\(["\\\/])/$1/g; $message =~ s/[^\x20-\x7e]+/ /g;
  print "missing $reference $message\n";
}
