# Creates a container by Docker's API, and prints its id. Its settings come on stdin, because the
# arguments of a process can be read by every user of the host: /proc/PID/cmdline has mode 0444.
# An --env-file of the docker command carries no value with several lines, and its own environment
# (`--env NAME`) would take variables such as DOCKER_HOST and LD_PRELOAD for the command itself.
# Prelude: host/docker_post.pl
# Arguments: the container's name. Stdin: the body of POST /containers/create as JSON, see
# https://docs.docker.com/reference/api/engine/. Exit status 9: the name is taken.

my ($name) = @ARGV;
my $body = do { local $/; <STDIN> };
my ($status, $answer) = post("/containers/create?name=$name", $body);
# A kernel without the cgroup of memory: Docker would leave the limit out and only warn.
die "$1\n" if $status == 201 and $answer =~ /"Warnings":\["([^"]*discarded[^"]*)"/;
if ($status == 201 and $answer =~ /"Id":"([0-9a-f]+)"/) { print "$1\n"; exit }
refused($answer);
exit($status == 409 ? 9 : 1);
