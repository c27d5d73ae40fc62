"""How a look asks Docker: its API over the Unix socket, by perl, in one process. Pure text.

Each start of the docker command costs 15 to 50 ms of processor time on the host, all answers of
the API together less than one. Perl is on every Debian, and the checks need it anyway.
"""

from __future__ import annotations

SOCKET = "/var/run/docker.sock"

# No single quote in here: the shell's are around it. Paths: docs.docker.com/reference/api/engine.
_TALK = rf"""
use Socket;
alarm 30;
my $buffer = "";
socket(my $link, PF_UNIX, SOCK_STREAM, 0) or exit 1;
connect($link, pack_sockaddr_un("{SOCKET}")) or exit 1;
sub more {{ sysread($link, $buffer, 65536, length $buffer) or exit 1 }}
sub line {{ more() until $buffer =~ s/^(.*?)\r\n//; return $1 }}
sub take {{ more() while length $buffer < $_[0]; return substr($buffer, 0, $_[0], "") }}
sub get {{
  syswrite($link, "GET $_[0] HTTP/1.1\r\nHost: docker\r\n\r\n");
  my ($status) = line() =~ / (\d+)/;
  my ($length, $chunked, $body) = (0, 0, "");
  while ((my $header = line()) ne "") {{
    $length = $1 if $header =~ /^content-length:\s*(\d+)/i;
    $chunked = 1 if $header =~ /^transfer-encoding:\s*chunked/i;
  }}
  if ($chunked) {{
    while (my $size = hex(line())) {{ $body .= take($size); line() }}
    line();
  }} else {{ $body = take($length) }}
  exit 1 if $status != 200 and $status != 404;
  $body =~ s/\n//g;
  return $status == 200 ? $body : "";
}}
sub answer {{ print "$_[0] $_[1]\n" if $_[1] ne ""; return $_[1] }}
sub inspect {{ # one container → its process, 0 when it does not run
  my $body = answer("container", get("/containers/$_[0]/json"));
  my ($pid) = $body =~ /"Pid":(\d+)/;
  print "lives $1 $pid\n" if $pid and $body =~ /"Name":"\/([^"]+)"/;
  return $pid || 0;
}}
sub inode {{ # of a namespace of a process
  my ($found) = (readlink("/proc/$_[0]/ns/$_[1]") // "") =~ /(\d+)/;
  return $found // 0;
}}
"""
_LOOK = r"""
answer("docker_info", get("/info"));
answer("networks", get("/networks"));
answer("containers", get("/containers/json?all=1"));
my $ours = get("/containers/json?all=1&filters=%7B%22label%22%3A%5B%22provision%22%5D%7D");
for my $id ($ours =~ /"Id":"([0-9a-f]{64})"/g) {
  my $pid = inspect($id) or next;
  print "netns $id ", inode($pid, "net"), "\n";
}
my $images = answer("images", get("/images/json"));
my %seen;
answer("image", get("/images/$_/json"))
  for grep { not $seen{$_}++ } $images =~ /"Id":"(sha256:[0-9a-f]{64})"/g;
"""
_SPACES = r"""
answer("networks", get("/networks"));
sub spaces {
  my ($id, $pid) = @_;
  print join(" ", "spaces", $id, $pid, map { inode($pid, $_) } qw(net mnt pid)), "\n";
}
spaces("host", 1);
for my $id (get("/containers/json?all=1") =~ /"Id":"([0-9a-f]{64})"/g) {
  my $pid = inspect($id) or next;
  spaces($id, $pid);
}
"""

ASK = f"perl -e '{_TALK}{_LOOK}'"
"""A shell command that prints `word JSON` lines, and fails when no daemon answers.

Words: docker_info, networks, containers (all, in short), container (each that carries our label,
inspected), lives (of each of these that runs: its name and process), netns (the same: its id, and
its network namespace's inode), images
(all, in short), image (each, inspected). What vanishes meanwhile is left out.
"""
SPACES = f"perl -e '{_TALK}{_SPACES}'"
"""The same for where containers live.

Words: networks, container (each on the host, inspected), spaces (of the host, and of each container
that runs: its id or `host`, process, and the inodes of its namespaces net, mnt and pid).
"""
RUNNING = ("running", "paused", "restarting")
"""States of a container in which its processes live, as `docker ps` without --all shows them."""
