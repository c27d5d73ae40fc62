# The host's NICs: managers, files, leases, and whatever forbids to bridge them.
# Prelude: look/need.sh look/bounded.sh look/prelude.sh
# Variables: name forwards
# The managers' own state files say which links they own:
# /run/systemd/netif of networkd, /run/NetworkManager/devices, /run/network/ifstate of ifupdown.
# Asking the managers by `networkctl` or `nmcli` would start a process for each link, also on hosts
# that bridge no NIC.

# Interfaces that forward nothing although the host does, or did before this inventory changed it.
# shellcheck disable=SC2154 # look/shared.sh sets $forwards
[ "$forwards" != 1 ] || shared interface
# Where one of these is set: how strictly a NIC filters sources, and for which addresses it answers
# ARP requests. What is greater counts, its own value or that of `all`.
settings() { # NIC
  filter=0 ignore=0
  read -r filter 2>/dev/null <"/proc/sys/net/ipv4/conf/$1/rp_filter" || :
  read -r ignore 2>/dev/null <"/proc/sys/net/ipv4/conf/$1/arp_ignore" || :
  case $filter$ignore in *[1-9]*) echo "ip_settings $1 $filter $ignore" ;; esac
}
settings all
# The DHCP client that ifupdown has started for a NIC.
dhcp_client() { # NIC
  for file in "/run/dhclient.$1.pid" "/run/dhcpcd/$1.pid"; do
    [ -f "$file" ] && read -r pid <"$file" && [ -f "/proc/$pid/comm" ] || continue
    case $(cat "/proc/$pid/comm") in dhclient | dhcpcd) echo "leased $1 ifupdown" ;; esac
  done
}
# systemd 262 has no file of a lease; older ones do, and their networkctl may not know it.
lease_of_networkd() { # NIC
  bytes=$(bounded networkctl --json=short status "$1" 2>/dev/null |
    sed -n 's/.*"DHCPv4Client":{"Lease":{.*"ClientIdentifier":\[\([0-9,]*\)\].*/\1/p' | tr , ' ')
  # shellcheck disable=SC2086 # one argument for each byte
  [ -z "$bytes" ] || echo "lease $1 $(printf %02x $bytes)"
}
managed=$(grep -Hs '^NETWORK_FILE=.' /run/systemd/netif/links/*)
for link in /sys/class/net/*; do
  nic=${link##*/}
  case $nic in veth*) ;; *) settings "$nic" ;; esac
  [ ! -d "$link/phy80211" ] && [ ! -d "$link/wireless" ] || echo "wireless $nic"
  [ ! -d "$link/bridge" ] || echo "bridge $nic"
  read -r index 2>/dev/null <"$link/ifindex" || continue
  case $managed in *"/links/$index:"*)
    path=${managed#*"/links/$index:NETWORK_FILE="}
    path=${path%%
*}
    echo "networkd $nic $path"
    for part in "$path" /etc/systemd/network/"${path##*/}".d/*.conf; do
      [ -f "$part" ] || continue
      # Of a file that keeps a NIC its addresses (host/manager_networkd.sh), only the NIC's own settings.
      case $part in
      /run/systemd/network/05-provision-*) text=$(sed '/^# provision: /,$d' "$part" | base64 -w0) ;;
      *) text=$(base64 -w0 <"$part") ;;
      esac
      echo "network_file $nic $text"
    done
  esac
  if [ -s "/run/systemd/netif/leases/$index" ]; then
    echo "lease $nic $(sed -n 's/^CLIENTID=//p' "/run/systemd/netif/leases/$index")"
  else
    case $managed in *"/links/$index:"*)
      ! grep -qs '^[[:space:]]*DHCP=' "$path" "$path".d/*.conf \
        /etc/systemd/network/"${path##*/}".d/*.conf || lease_of_networkd "$nic" ;;
    esac
  fi
  if [ -f "/run/NetworkManager/devices/$index" ]; then
    owner='' uuid=
    while read -r line; do
      case $line in
      managed=true | managed=1) owner=NetworkManager ;;
      connection-uuid=*) uuid=${line#*=} ;;
      esac
    done <"/run/NetworkManager/devices/$index"
    # netplan writes the profiles of its renderer NetworkManager here, and would write them again;
    # NetworkManager derives the UUID of a file without one from its name.
    ! grep -qsxF -e "uuid=$uuid" -e "interface-name=$nic" \
      /run/NetworkManager/system-connections/netplan-* || owner=${owner:+netplan-nm}
    [ -z "$owner" ] || echo "manager $nic $owner"
    # The address that its own DHCP client asks for at the next start.
    lease=/var/lib/NetworkManager/internal-$uuid-$nic.lease
    [ -z "$owner" ] || [ ! -f "$lease" ] || while IFS='=' read -r key value; do
      case $key in ADDRESS) echo "leased $nic NetworkManager $value" ;; esac
    done <"$lease"
  fi
  if [ -f /run/network/ifstate ]; then
    while read -r line; do
      case $line in "$nic="*) echo "manager $nic ifupdown" && dhcp_client "$nic" ;; esac
    done </run/network/ifstate
  fi
done
for record in /var/lib/provision/was/"$name"/sysctl/net.ipv4.conf.*.forwarding; do
  [ -f "$record" ] || continue
  record=${record#*/net.ipv4.conf.}
  echo "unforwarding $(printf %s "${record%.forwarding}" | tr : .)"
done
for record in /var/lib/provision/was/"$name"/uplink/*; do
  [ ! -f "$record" ] || echo "was ${record##*/} $(head -c 65536 "$record" | base64 -w0)"
done
for claim in /etc/provision/"$name"/attachments/*/*; do
  [ -f "$claim" ] || continue
  read -r kind _ parent _ <"$claim"
  [ "$kind" != nic ] || echo "given $parent"
done
shared every_route
