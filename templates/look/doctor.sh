# Settings and services of the host that will hurt its network, as `KEY VALUE` lines.
# Prelude: look/bounded.sh
# Variables: docker_program
# $docker_program is look/docker_api.pl, and prints Docker's information once. Nothing is changed:
# types of interfaces are tried in a network namespace that ends with the command.

echo "now $(date +%s.%N)"
echo "machine_id $(head -c 64 /etc/machine-id 2>/dev/null)"
echo "kernel $(uname -r)"
sed -n 's/^PRETTY_NAME="\{0,1\}\([^"]*\)"\{0,1\}$/system \1/p' /etc/os-release 2>/dev/null
begin=$(date +%s%N)
! bounded perl -e "$docker_program" || echo "docker_ms $((($(date +%s%N) - begin) / 1000000))"

# A file system of a dead server would let df wait for ever.
timeout 5 df -k --output=size,avail,itotal,iavail,target / /etc /run /var/lib/docker \
  /var/lib/provision 2>/dev/null | sed '1d;s/^ */disk /'

echo "forwarding $(cat /proc/sys/net/ipv4/ip_forward)"
# The kernel takes the larger one of `all` and the interface; 2 is loose.
[ "$(cat /proc/sys/net/ipv4/conf/all/rp_filter)" = 2 ] ||
  grep -lx 1 /proc/sys/net/ipv4/conf/*/rp_filter | sed 's|.*/conf/\(.*\)/rp_filter|strict \1|'
grep -nHE '^[[:space:]]*-?net[./]ipv4[./](ip_forward|conf[./][^=]*[./](forwarding|rp_filter))[[:space:]]*=' \
  /etc/sysctl.d/*.conf /run/sysctl.d/*.conf /usr/local/lib/sysctl.d/*.conf /usr/lib/sysctl.d/*.conf \
  /etc/sysctl.conf /etc/ufw/sysctl.conf 2>/dev/null | sed 's/^/sysctl /'

if command -v systemctl >/dev/null 2>&1; then
  bounded systemctl show --property Id,ActiveState,UnitFileState docker.service firewalld.service \
    nftables.service ufw.service dhcpcd.service | sed 's/^/unit /'
fi
grep -qsx 'ENABLED=yes' /etc/ufw/ufw.conf && echo 'ufw enabled'
sed -n 's/^DEFAULT_FORWARD_POLICY="\{0,1\}\([A-Z]*\).*/ufw_forward \1/p' /etc/default/ufw 2>/dev/null
grep -nHs '^[[:space:]]*flush ruleset' /etc/nftables.conf | sed 's/^/flush /'
for file in /run/dhcpcd/pid /run/dhcpcd.pid; do
  # The one of all interfaces; that of a single interface has its name in the file's.
  pid=$(cat "$file" 2>/dev/null) && kill -0 "$pid" 2>/dev/null && echo "dhcpcd $pid"
done
grep -hsE '^[[:space:]]*(deny|allow)interfaces[[:space:]]' /etc/dhcpcd.conf | sed 's/^/dhcpcd_conf /'

command -v iptables >/dev/null 2>&1 && iptables -V | sed 's/^/iptables /'
for backend in nft legacy; do
  command -v "iptables-$backend-save" >/dev/null 2>&1 || continue
  # Where no table of the legacy backend is loaded, asking for one would load it.
  [ "$backend" = nft ] || grep -qs . /proc/net/ip_tables_names || continue
  bounded "iptables-$backend-save" -c | awk -v backend="$backend" '
    /^\*/ { table = substr($0, 2) }
    /^:/ && $2 != "-" { print "policy", backend, table, substr($1, 2), $2 }
    / provision-explain-[0-9]+ -j TRACE$/ { next } # a packet is followed at this moment
    /^\[/ {
      rules++
      number = ++numbers[table, $3]
      if ($0 ~ / -j DOCKER-USER$/) print "jump", backend, table, $3, number
      if ($0 ~ / -j (DROP|REJECT)/ && drops++ < 200) print "drop", backend, table, $3, number, $0
    }
    END { print "rules", backend, rules + 0 }'
done

for link in /sys/class/net/*; do
  # Reading the carrier of an interface that is down fails.
  [ "$(cat "$link/carrier" 2>/dev/null)" != 0 ] || echo "no_carrier ${link##*/}"
done
for type in veth bridge vxlan macvlan wireguard; do
  case $type in
  vxlan) options='id 1 dstport 4789' ;;
  macvlan) options='link probe1' ;;
  *) options='' ;;
  esac
  error=$(printf 'link add name probe1 type veth\nlink add name probe2 %s type %s %s\n' \
    "${options##id*}" "$type" "${options%%link*}" | unshare -n ip -batch - 2>&1) ||
    case $error in *'Unknown device type'* | *'not supported'*) echo "no_type $type" ;; esac
done
[ -c /dev/net/tun ] || echo 'no_type tun'
[ -e /proc/sys/net/bridge ] || modprobe -nq br_netfilter 2>/dev/null || echo 'no_module br_netfilter'
:
