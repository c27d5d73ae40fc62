# Docker's API over its Unix socket, in one process. docker_snapshot.pl and docker_namespaces.pl
# follow this text. Each start of the docker command costs 15 to 50 ms of processor time on a host;
# all answers of the API together cost less than one. Perl is on every Debian, and the checks need
# it anyway. Paths of the API: https://docs.docker.com/reference/api/engine/
# get(PATH) returns the body in one line, "" for status 404, and ends the program with status 1 at
# any other; get_ours(PATH) asks for what has our label alone, by the parameter `filters`; ask(PATH)
# returns status and body, whatever they are. answer(KEY, JSON) prints `KEY JSON` and returns JSON.
# inspect(ID) prints a container and its process, and returns the process id, 0 where it does not run.
# inode(PID, TYPE) returns the inode of a namespace, 0 where it has ended.
# docker_info() prints what Docker tells of itself, and in how many milliseconds (in steps of 10, those
# of /proc/uptime).
# Defines: ask get get_ours answer inspect inode docker_info

use strict; use warnings;
alarm 30;
my $buffer = '';
# The module Socket would take more time to load than all the rest of perl: 5 of 10 ms.
sub AF_UNIX() { 1 } sub SOCK_STREAM() { 1 } sub SOCK_RAW() { 3 } # linux/socket.h, linux/net.h
socket(my $daemon, AF_UNIX, SOCK_STREAM, 0) or exit 1;
connect($daemon, pack('Sa108', AF_UNIX, '/var/run/docker.sock')) or exit 1; # see unix(7)
sub read_more { sysread($daemon, $buffer, 65536, length $buffer) or exit 1 }
sub read_line { read_more() until $buffer =~ s/^(.*?)\r\n//; return $1 }
sub read_bytes { my ($count) = @_; read_more() while length $buffer < $count; return substr($buffer, 0, $count, '') }
sub ask {
  my ($path) = @_;
  syswrite($daemon, "GET $path HTTP/1.1\r\nHost: docker\r\n\r\n");
  my ($status) = read_line() =~ / (\d+)/;
  my ($length, $chunked, $body) = (0, 0, '');
  while ((my $header = read_line()) ne '') {
    $length = $1 if $header =~ /^content-length:\s*(\d+)/i;
    $chunked = 1 if $header =~ /^transfer-encoding:\s*chunked/i;
  }
  if ($chunked) {
    while (my $size = hex(read_line())) { $body .= read_bytes($size); read_line() }
    read_line();
  } else { $body = read_bytes($length) }
  $body =~ s/\n//g;
  return ($status, $body);
}
sub get {
  my ($status, $body) = ask(@_);
  exit 1 if $status != 200 and $status != 404;
  return $status == 200 ? $body : '';
}
sub get_ours { # path with its other parameters, up to the ? or & before `filters`
  return get("$_[0]filters=%7B%22label%22%3A%5B%22provision%22%5D%7D");
}
sub answer { my ($key, $json) = @_; print "$key $json\n" if $json ne ''; return $json }
sub inspect {
  my ($id) = @_;
  my $body = answer('container', get("/containers/$id/json"));
  my ($pid) = $body =~ /"Pid":(\d+)/;
  print "lives $1 $pid\n" if $pid and $body =~ /"Name":"\/([^"]+)"/;
  return $pid || 0;
}
sub uptime {
  open(my $file, '<', '/proc/uptime') or return 0;
  my ($seconds) = split ' ', <$file>;
  return $seconds;
}
sub docker_info {
  my $begin = uptime();
  answer('docker_info', get('/info'));
  printf "docker_ms %d\n", 1000 * (uptime() - $begin);
}
sub inode {
  my ($pid, $type) = @_;
  my ($inode) = (readlink("/proc/$pid/ns/$type") // '') =~ /(\d+)/;
  return $inode // 0;
}
