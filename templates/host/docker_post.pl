# A request to Docker's API that changes something, without a docker command.
# post(PATH, JSON) returns the status and the whole answer, and ends the program where no daemon
# answers; refused(ANSWER) prints Docker's message.
# Defines: post refused

use strict; use warnings; use Socket;
$SIG{PIPE} = 'IGNORE'; # a daemon that ends is an error below, not a silent end of this program
sub post {
  my ($path, $body) = @_;
  socket(my $daemon, PF_UNIX, SOCK_STREAM, 0) or die "no socket: $!\n";
  connect($daemon, pack_sockaddr_un('/var/run/docker.sock')) or die "Docker does not answer: $!\n";
  # HTTP/1.0: the answer comes in one piece, and ends with the connection.
  my $request = "POST $path HTTP/1.0\r\nHost: docker\r\n"
    . "Content-Type: application/json\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
  while (length $request) {
    my $written = syswrite($daemon, $request) or die "Docker does not answer: $!\n";
    substr($request, 0, $written, '');
  }
  my $answer = do { local $/; <$daemon> } // '';
  return ($answer =~ m{^HTTP/\S+ (\d+) } ? $1 : 0, $answer);
}
sub refused {
  my ($message) = $_[0] =~ /"message":"((?:[^"\\]|\\.)*)"/;
  $message //= 'no answer';
  $message =~ s/\\n/\n/g;
  $message =~ s/\\(["\\])/$1/g;
  print STDERR "Error response from daemon: $message\n";
}
