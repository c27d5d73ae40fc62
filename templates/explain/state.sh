# The state of network namespaces after a probe: one `state LABEL KEY VALUE` line for each part.
# Prelude: look/bounded.sh
# Variables: spaces lookups sockets
# $spaces has a line `LABEL PID` for each namespace, $lookups a line `LABEL PID NAME ARGUMENTS…` for each
# `ip route get`, $sockets is a port whose listeners are printed. The last line is `stated`.

printf '%s\n' "$spaces" | while read -r label pid; do
  [ -n "$pid" ] || continue
  # -N: numbers of protocols and tables, which each host may name differently.
  printf '%s\n' 'address show' 'route show table all' 'rule show' 'neigh show' |
    bounded nsenter -t "$pid" -n ip -j -N -d -batch - | sed "1s/^/state $label links /
      2s/^/state $label routes /;3s/^/state $label rules /;4s/^/state $label neighbors /"
  nsenter -t "$pid" -n grep -s . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/icmp_echo_ignore_all \
    /proc/sys/net/ipv4/conf/*/forwarding /proc/sys/net/ipv4/conf/*/rp_filter |
    sed "s|^/proc/sys/|state $label sysctl |;s|:| |"
  [ -z "$sockets" ] || nsenter -t "$pid" -n ss -H -lntu "sport = :$sockets" | sed "s/^/state $label listener /"
done
printf '%s\n' "$lookups" | while read -r label pid name arguments; do
  [ -n "$pid" ] || continue
  # shellcheck disable=SC2086 # the words are arguments
  answer=$(nsenter -t "$pid" -n ip -j -N route get $arguments 2>&1)
  printf 'state %s lookup %s ' "$label" "$name"
  # shellcheck disable=SC2086 # joins the lines
  echo $answer
done
if command -v bridge >/dev/null; then
  ports=$(bounded bridge -j -d link)
  # shellcheck disable=SC2086 # joins the lines
  echo state host ports $ports
  bounded bridge fdb show | sed -n '/^$/d;/ permanent$/{/ dst /!d};s/^/state host fdb /p' | head -n 4000
fi
grep -Es '^[[:space:]]*net[./]ipv4[./]' /etc/sysctl.conf /etc/sysctl.d/*.conf /run/sysctl.d/*.conf /usr/lib/sysctl.d/*.conf |
  sed 's/^/state host sysctl_file /'
systemctl list-units --all --plain --no-legend docker.service firewalld.service ufw.service \
  openvswitch-switch.service 2>/dev/null |
  sed -n 's/^\([^ ]*\) *[^ ]* *\([^ ]*\).*/state host unit \1 \2/p'
# systemd does not list a unit that is stopped and disabled.
set --
for unit in /etc/systemd/system/provision-*.service; do
  [ ! -f "$unit" ] || set -- "$@" "${unit##*/}"
done
[ $# = 0 ] || systemctl is-active "$@" 2>/dev/null | while read -r active; do
  echo "state host unit $1 $active"; shift
done
[ ! -x /usr/sbin/nft ] || bounded /usr/sbin/nft -a list ruleset | sed 's/^/state host nft /'
echo stated
