# Firewalls of the host, as `KEY VALUE` lines; the rules of iptables are read by iptables_chain. Then
# settings of dockerd.
# Prelude: look/need.sh look/bounded.sh look/prelude.sh
# Variables: name units iptables_version docker_tables
# firewalld is asked by D-Bus, because each start of firewall-cmd takes 0.4 s. Only where it runs:
# a message to a name that nobody has can make systemd start its service.

if command -v systemctl >/dev/null 2>&1; then
  active=$(printf '%s\n' "$units" | sed -n \
    '/^Id=/{s///;h;};/^ActiveState=active$/{x;/^\(firewalld\|nft\|netf\|ipt\)/s/^/firewall_unit /p;}')
  [ -z "$active" ] || printf '%s\n' "$active"
  case $active in
  *firewalld.service*)
    daemon() { # part of the interface's name, method, arguments
      bus=org.fedoraproject.FirewallD1 part=$1; shift
      bounded busctl --json=short call "$bus" "/${bus%%.*}/fedoraproject/FirewallD1" \
        "$bus$part" "$@" 2>/dev/null
    }
    zones=$(daemon .zone getActiveZones) default=$(daemon '' getDefaultZone)
    echo "firewalld_active $zones"
    echo "firewalld_default $default"
    echo "firewalld_policies $(daemon .policy getPolicies)"
    names=$(printf %s "$zones" | grep -o '"[^"]*":{"' | cut -d '"' -f 2)
    settings=$(printf '%s\n' "$names" docker "$(printf %s "$default" | cut -d '"' -f 8)" | sort -u |
      while read -r zone; do
        [ -z "$zone" ] || echo "firewalld_zone $zone $(daemon .zone getZoneSettings2 s "$zone")"
      done)
    printf '%s\n' "$settings"
    printf '%s\n' "$settings" | sed -n 's/.*"services":{"type":"as","data":\[\([^]]*\)\].*/\1/p' |
      tr ',' '\n' | tr -d '"' | sort -u | while read -r service; do
      [ -z "$service" ] ||
        echo "firewalld_service $service $(daemon '' getServiceSettings2 s "$service")"
    done ;;
  esac
fi
if command -v nft >/dev/null 2>&1; then
  nft list tables 2>/dev/null | while read -r _ family table; do
    case "$family $table" in
    *" filter" | *" nat" | *" mangle" | *" raw" | *" security")
      [ "$family" = inet ] || continue ;; # iptables-nft keeps its own tables under these names
    *" firewalld" | *" docker-bridges" | *" netavark" | *" PROV-"* | arp\ * | bridge\ * | netdev\ *) continue ;;
    esac
    rules=$(nft -j list table "$family" "$table" 2>/dev/null | tr '\n' ' ' | head -c 262144) &&
      echo "nft_table $rules"
  done
fi
# Rules of both backends count, whichever of them the command `iptables` uses.
if command -v iptables >/dev/null 2>&1; then
  case $iptables_version in
  *legacy*)
    iptables-nft-save 2>/dev/null | grep '^-A' | grep -qv provision-explain && echo 'iptables_other nf_tables' ;;
  *)
    # Without a table of this backend its program would load the kernel's modules.
    { read -r _ </proc/net/ip_tables_names; } 2>/dev/null &&
      iptables-legacy-save 2>/dev/null | grep -q '^-A' && echo 'iptables_other legacy' ;;
  esac
fi
# Settings of forwarding at each boot, at `sysctl --system`, when ufw starts and when networkd restarts.
grep -HsiE \
  -e '^[[:space:]]*-?net[./]ipv4[./](ip_forward|conf[./].*[./]forwarding)[[:space:]]*=[[:space:]]*[01]' \
  -e '^(IPv4Forwarding|IPForward)[[:space:]]*=[[:space:]]*(no|false|0|off|ipv6|yes|true|1|on|ipv4)' \
  /etc/sysctl.d/*.conf /run/sysctl.d/*.conf /usr/local/lib/sysctl.d/*.conf /usr/lib/sysctl.d/*.conf \
  /etc/sysctl.conf /etc/ufw/sysctl.conf /etc/systemd/network/*.network /run/systemd/network/*.network \
  /etc/systemd/network/*.network.d/*.conf /run/systemd/network/*.network.d/*.conf \
  /etc/systemd/networkd.conf /etc/systemd/networkd.conf.d/*.conf /run/systemd/networkd.conf.d/*.conf |
  sed 's/^\([^:]*\):[[:space:]]*-\{0,1\}/sets_forwarding \1 /'
file=/etc/docker/daemon.json
daemon_json() { [ -f $file ] && grep -Eqs "\"$1\"[[:space:]]*:[[:space:]]*$2" $file; }
# A file of one line without its end: `read` sets the variable, and fails.
pid=; [ ! -r /run/docker.pid ] || read -r pid </run/docker.pid || :
flags=$(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline")
case " $flags" in
*' --iptables=false '*) echo 'docker_iptables false' ;;
*) ! daemon_json iptables false || echo 'docker_iptables false' ;;
esac
# Docker refuses a setting that its flags and its file have both.
mark=
case $flags in *--bridge-accept-fwmark[=\ ]*)
  mark=${flags#*--bridge-accept-fwmark?} mark=${mark%% *} ;;
esac
[ -n "$mark" ] || [ ! -f $file ] ||
  mark=$(sed -n 's/.*"bridge-accept-fwmark"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/;T;p;q' $file)
[ -z "$mark" ] || echo "docker_mark $mark"
[ -z "$docker_tables" ] || echo "docker_tables $docker_tables"
# The rest of the file may hold secrets.
! daemon_json default-network-opts '\{' || {
  opts='"default-network-opts"[[:space:]]*:[[:space:]]*\{([^{}]|\{[^{}]*\})*\}'
  echo "docker_network_opts $(tr '\n' ' ' <$file | grep -oE "$opts" | head -n 1)"
}
case $flags in *--default-network-opt[=\ ]*)
  echo "$flags" | grep -oE -e '--default-network-opt[= ][^ ]+' |
    sed 's/^--default-network-opt[= ]/docker_network_opt /' ;;
esac
for claim in /etc/provision/"$name"/firewall/*; do
  [ ! -f "$claim" ] || echo "firewall_claim $(head -c 1024 "$claim" | head -n 1)"
done
[ ! -e "/run/provision-$name/forward-drop" ] || echo 'forward_was DROP'
