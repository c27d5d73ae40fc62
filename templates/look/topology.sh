# Network namespaces, containers, links, routes, tunnels and NAT of a host, ours or not, for `show` and
# the checks: one `KEY VALUE` line for each. The last line, `wired`, says that nothing is missing.
# Prelude: look/bounded.sh
# Variables: docker_program
# $docker_program is look/docker_api.pl followed by look/docker_namespaces.pl.

snapshot() { # inode of a network namespace, then the command prefix that enters it
  inode=$1; shift
  printed=$(printf 'address show\nroute show table main\n' | bounded "$@" ip -j -d -batch -) ||
    return 1
  printf '%s\n' "$printed" | sed "1s/^/links $inode /;2s/^/routes $inode /"
}
inode() { readlink "/proc/1/ns/$1" | tr -dc 0-9; }
docker_error='Docker is not installed'
if command -v docker >/dev/null 2>&1; then
  docker_error="Docker's daemon does not answer"
  command -v perl >/dev/null 2>&1 || docker_error='perl is missing, which asks Docker'
  answers=$(bounded perl -e "$docker_program") && docker_error=
fi
if [ -n "$docker_error" ]; then
  answers="networks []
spaces host 1 $(inode net) $(inode mnt) $(inode pid)"
  echo "undocked $docker_error"
fi
printf '%s\n' "$answers"
printf '%s\n' "$answers" | sed -n 's/^spaces //p' | {
  visited=' '
  while read -r _ pid net _ _; do
    case $visited in *" $net "*) continue ;; esac
    visited="$visited$net "
    # A container may end meanwhile; every other failure is an error.
    snapshot "$net" nsenter -t "$pid" -n || [ ! -e "/proc/$pid" ] || exit 1
  done
} || exit 1
# The forwarding database tells to which hosts a VXLAN device of the kernel sends its frames.
if [ -n "$(ip -o link show type vxlan)" ] && command -v bridge >/dev/null 2>&1; then
  forwards=$(bounded bridge fdb show) || exit 1
  printf '%s\n' "$forwards" | sed -n '/ dst /s/^/forward /p'
fi
# The kernel does not know which ports Open vSwitch's userspace datapath has, and never its tunnels.
database=$(cat /run/openvswitch/ovsdb-server.pid 2>/dev/null)
if [ -n "$database" ] && kill -0 "$database" 2>/dev/null; then
  if tables=$(bounded ovs-vsctl -t 5 -f json \
    -- --columns=name,ports list Bridge \
    -- --columns=_uuid,name,interfaces,protected,tag,external_ids list Port \
    -- --columns=_uuid,name,type,options,ofport,error,admin_state,link_state list Interface); then
    printf '%s\n' "$tables" | sed '1s/^/ovs_bridges /;2s/^/ovs_ports /;3s/^/ovs_interfaces /'
    kill -0 "$(cat /run/openvswitch/ovs-vswitchd.pid 2>/dev/null)" 2>/dev/null ||
      echo 'ovs_error ovs-vswitchd does not run'
  else
    echo 'ovs_error Open vSwitch does not answer'
  fi
fi
# The kernel tells nothing of a WireGuard device, and `dump` prints secrets, too: they stay here.
if command -v wg >/dev/null 2>&1 && [ -n "$(wg show interfaces 2>/dev/null)" ]; then
  date '+wg_now %s'
  bounded wg show all dump | sed -n '
    s/^\([^\t]*\)\t[^\t]*\t\([^\t]*\)\t\([0-9]*\)\t[^\t]*$/wg_device \1 \2 \3/p
    s/^\([^\t]*\)\t\([^\t]*\)\t[^\t]*\t\([^\t]*\)\t\([^\t]*\)\t\([0-9]*\)\t[0-9]*\t[0-9]*\t[^\t]*$/wg_peer \1 \2 \3 \4 \5/p'
fi
if command -v iptables >/dev/null 2>&1; then
  nat=$(bounded iptables -w 30 -t nat -v -S) || exit 1
  printf '%s\n' "$nat" | sed 's/^/nat /'
fi
# Docker's backend nftables has its own rules for published ports.
if command -v nft >/dev/null 2>&1; then
  bounded nft list chain ip docker-bridges nat-prerouting-and-output 2>/dev/null |
    sed -n 's/^[[:space:]]*\(.* dnat to \)/docker_dnat \1/p'
fi
echo wired
