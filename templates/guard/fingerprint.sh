# What every fingerprint of a kind (`Resource.fingerprint`) may use; a host keeps the whole script
# as long as a change is under way, and compares what it prints before and after.
# Prelude: look/need.sh
# Variables: docker_program
# Defines: need_docker need_ovs docker_objects
# $docker_program is look/docker_api.pl followed by guard/docker_objects.pl, and $docker_objects what
# that prints: one process of perl takes a quarter of the time of one docker command.
# need_docker ends a section where Docker is not installed or does not answer.
# need_ovs ends a section without output where the database of Open vSwitch does not run; asking its
# socket could start it.

docker=''
! command -v docker >/dev/null 2>&1 || ! docker_objects=$(perl -e "$docker_program") || docker=yes
need_docker() { need docker; [ -n "$docker" ] || { echo 'no answer'; exit 0; }; }
need_ovs() { kill -0 "$(cat /run/openvswitch/ovsdb-server.pid 2>/dev/null)" 2>/dev/null || exit 0; }

# The names of all files of ours, whatever they are called: no rollback may leave one behind. Names
# that end in .provision-new or .new are of files that are being written; the controller sends an
# archive of an image before the host compares itself; the follower may write .offloads at any time; a
# rollback does not put back the request for another key of WireGuard (.renew).
echo '# files'
find /etc/provision /var/lib/provision/was ! -type d ! -name '.*.provision-new' ! -name '*.new' \
  ! -name '*.offloads' ! -path '/etc/provision/*/wireguard/*.renew' \
  ! -path '/var/lib/provision/was/*/upload/*' 2>/dev/null | sort
