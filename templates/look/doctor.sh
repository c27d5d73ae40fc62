# Settings and services of the host that will hurt its network, as `KEY VALUE` lines.
# Prelude: look/bounded.sh
# Variables: docker_program
# $docker_program is look/docker_api.pl, and prints Docker's information and the time that took. Within a
# snapshot, look/prelude.sh and look/shared.sh define what stands for it. Nothing is changed: types of
# interfaces are tried in a network namespace that ends with the command. `read` stands for `cat` and
# `sed`, since each process costs a millisecond or two.

keyed() { # key; prints each line of stdin after it
  while IFS= read -r line; do printf '%s %s\n' "$1" "$line"; done
}

echo "now $(date +%s.%N)"
id=
[ ! -r /etc/machine-id ] || read -r id </etc/machine-id || :
printf 'machine_id %.64s\n' "$id"
read -r kernel </proc/sys/kernel/osrelease || :
echo "kernel $kernel"
[ ! -r /etc/os-release ] || while IFS= read -r line; do
  case $line in PRETTY_NAME=*)
    line=${line#PRETTY_NAME=} line=${line#\"}
    echo "system ${line%\"}" ;;
  esac
done </etc/os-release
if [ -n "${docker+set}" ]; then shared docker_ms docker_info; else
  ! answer=$(bounded perl -e "$docker_program") || printf '%s\n' "$answer"
fi

# A file system of a dead server would let df wait for ever.
timeout 5 df -k --output=size,avail,itotal,iavail,target / /etc /run /var/lib/docker \
  /var/lib/provision 2>/dev/null | { read -r _; keyed disk; }

read -r forwarding </proc/sys/net/ipv4/ip_forward
echo "forwarding $forwarding"
# The kernel takes the larger one of `all` and the interface; 2 is loose.
read -r filter </proc/sys/net/ipv4/conf/all/rp_filter
[ "$filter" = 2 ] || for file in /proc/sys/net/ipv4/conf/*/rp_filter; do
  # The interface may end meanwhile. `read` finds no end of line: see look/shared.sh.
  filter=; { read -r filter <"$file"; } 2>/dev/null || :
  file=${file%/rp_filter}
  [ "$filter" != 1 ] || echo "strict ${file##*/}"
done
grep -nHE '^[[:space:]]*-?net[./]ipv4[./](ip_forward|conf[./][^=]*[./](forwarding|rp_filter))[[:space:]]*=' \
  /etc/sysctl.d/*.conf /run/sysctl.d/*.conf /usr/local/lib/sysctl.d/*.conf /usr/lib/sysctl.d/*.conf \
  /etc/sysctl.conf /etc/ufw/sysctl.conf 2>/dev/null | keyed sysctl
# A file replaces those of its name in later folders, also an empty one, such as a link to /dev/null.
for file in /etc/sysctl.d/*.conf /run/sysctl.d/*.conf /usr/local/lib/sysctl.d/*.conf; do
  [ ! -e "$file" ] || echo "sysctl_file $file"
done

if [ -n "${units+set}" ]; then printf '%s\n' "$units" | keyed unit
elif command -v systemctl >/dev/null 2>&1; then
  bounded systemctl show --property Id,ActiveState,UnitFileState docker.service firewalld.service \
    nftables.service ufw.service dhcpcd.service | keyed unit
fi
[ ! -f /etc/ufw/ufw.conf ] || ! grep -qx 'ENABLED=yes' /etc/ufw/ufw.conf || echo 'ufw enabled'
[ ! -f /etc/default/ufw ] ||
  sed -n 's/^DEFAULT_FORWARD_POLICY="\{0,1\}\([A-Z]*\).*/ufw_forward \1/p' /etc/default/ufw
[ ! -f /etc/nftables.conf ] ||
  grep -nH '^[[:space:]]*flush ruleset' /etc/nftables.conf | keyed flush
for file in /run/dhcpcd/pid /run/dhcpcd.pid; do
  # The one of all interfaces; that of a single interface has its name in the file's.
  [ -f "$file" ] && read -r pid <"$file" && kill -0 "$pid" 2>/dev/null && echo "dhcpcd $pid"
done
[ ! -f /etc/dhcpcd.conf ] ||
  grep -hE '^[[:space:]]*(deny|allow)interfaces[[:space:]]' /etc/dhcpcd.conf | keyed dhcpcd_conf

if command -v iptables >/dev/null 2>&1; then
  echo "iptables ${iptables_version-$(iptables -V)}"
fi
for backend in nft legacy; do
  command -v "iptables-$backend-save" >/dev/null 2>&1 || continue
  # Where no table of the legacy backend is loaded, asking for one would load it.
  [ "$backend" = nft ] || { read -r _ </proc/net/ip_tables_names; } 2>/dev/null || continue
  bounded "iptables-$backend-save" -c | awk -v backend="$backend" '
    /^\*/ { table = substr($0, 2) }
    /^:/ && $2 != "-" { print "policy", backend, table, substr($1, 2), $2 }
    / provision-explain-[0-9]+ -j TRACE$/ { next } # a packet is followed at this moment
    /^\[/ {
      rules++
      number = ++numbers[table, $3]
      if ($0 ~ / -j DOCKER-USER$/ || ($3 == "DOCKER-USER" && $0 ~ / -j PROV-/))
        print "jump", backend, table, $3, number
      if ($0 ~ / -j (DROP|REJECT)/ && drops++ < 200) print "drop", backend, table, $3, number, $0
    }
    END { print "rules", backend, rules + 0 }'
done

for link in /sys/class/net/*; do
  # Reading the carrier of an interface that is down fails.
  { read -r carrier <"$link/carrier"; } 2>/dev/null || continue
  [ "$carrier" != 0 ] || echo "no_carrier ${link##*/}"
done
# One namespace for all types. `ip -force` goes on after a line that fails, and prints its number.
types='veth bridge vxlan macvlan wireguard' unknown=
for type in $types; do
  case $type in
  veth) echo 'link add name probe type veth' ;;
  vxlan) echo 'link add name probe2 type vxlan id 1 dstport 4789' ;;
  macvlan) echo 'link add name probe3 link probe type macvlan' ;;
  *) echo "link add name probe-$type type $type" ;;
  esac
done | unshare -n ip -force -batch - 2>&1 | while IFS= read -r line; do
  case $line in
  *'Unknown device type'* | *'not supported'*) unknown=yes ;;
  'Command failed -:'*)
    # shellcheck disable=SC2086 # split on purpose
    set -- $types
    shift $((${line#*:} - 1))
    [ -z "$unknown" ] || echo "no_type $1"
    unknown= ;;
  esac
done
[ -c /dev/net/tun ] || echo 'no_type tun'
[ -e /proc/sys/net/bridge ] || modprobe -nq br_netfilter 2>/dev/null || echo 'no_module br_netfilter'
:
