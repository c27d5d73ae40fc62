# Creates a container by Docker's API, and prints its id. Its settings come on stdin, because the
# arguments of a process can be read by every user of the host: /proc/PID/cmdline has mode 0444.
# An --env-file of the docker command carries no value with several lines, and its own environment
# (`--env NAME`) would take variables such as DOCKER_HOST and LD_PRELOAD for the command itself.
# Arguments: the container's name. Stdin: the body of POST /containers/create as JSON, see
# https://docs.docker.com/reference/api/engine/. Exit status 9: the name is taken.

use strict; use warnings; use Socket;
my ($name) = @ARGV;
my $body = do { local $/; <STDIN> };
$SIG{PIPE} = 'IGNORE'; # a daemon that ends is an error below, not a silent end of this program
socket(my $daemon, PF_UNIX, SOCK_STREAM, 0) or die "no socket: $!\n";
connect($daemon, pack_sockaddr_un('/var/run/docker.sock')) or die "Docker does not answer: $!\n";
# HTTP/1.0: the answer comes in one piece, and ends with the connection.
my $request = "POST /containers/create?name=$name HTTP/1.0\r\nHost: docker\r\n"
  . "Content-Type: application/json\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
while (length $request) {
  my $written = syswrite($daemon, $request) or die "Docker does not answer: $!\n";
  substr($request, 0, $written, '');
}
my $answer = do { local $/; <$daemon> } // '';
# A kernel without the cgroup of memory: Docker would leave the limit out and only warn.
die "$1\n" if $answer =~ m{^HTTP/\S+ 201 } and $answer =~ /"Warnings":\["([^"]*discarded[^"]*)"/;
if ($answer =~ m{^HTTP/\S+ 201 } and $answer =~ /"Id":"([0-9a-f]+)"/) { print "$1\n"; exit }
my ($message) = $answer =~ /"message":"((?:[^"\\]|\\.)*)"/;
$message //= 'no answer';
$message =~ s/\\n/\n/g;
$message =~ s/\\(["\\])/$1/g;
print STDERR "Error response from daemon: $message\n";
exit($answer =~ m{^HTTP/\S+ 409 } ? 9 : 1);
