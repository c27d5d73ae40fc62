# Kind `lan_bridge`: the records of NICs that became ports, files of their managers, bridge settings.
# Prelude: look/need.sh look/bounded.sh look/prelude.sh
# Variables: name

need ip
for link in /sys/class/net/*; do echo "link ${link##*/}"; done
shared addresses
for record in /var/lib/provision/was/"$name"/uplink/*; do
  [ -f "$record" ] || continue
  bridge=${record##*/}
  echo "was $bridge $(base64 -w0 <"$record")"
  # No pattern: the files of bridge bri0-x, or of an inventory demo-bri0, begin like those of bri0.
  for end in .netdev .network -nic.network -seat.netdev -seat.network -port.network; do
    files "/etc/systemd/network/05-provision-$name-$bridge$end"
  done | sed "s/^/file $bridge /"
  stem=provision-$name-$bridge profiles=/etc/NetworkManager/system-connections
  files "/etc/netplan/90-$stem.yaml" \
    "/etc/systemd/network/10-netplan-$bridge.network.d/$stem.conf" "$profiles/$stem.nmconnection" \
    "$profiles/$stem-port.nmconnection" | sed "s/^/file $bridge /"
  # Files of the administrator in which lines of the NIC were replaced (lib/marked_block.py).
  for file in /etc/network/interfaces /etc/network/interfaces.d/* /etc/netplan/*.yaml; do
    ! grep -qsF "# provision:$name/$bridge begin: " "$file" || files "$file"
  done | sed "s/^/edited $bridge /"
  [ -d "/sys/class/net/$bridge/bridge" ] || continue
  for key in stp_state forward_delay vlan_filtering; do
    value="/sys/class/net/$bridge/bridge/$key"
    [ ! -e "$value" ] || echo "set $bridge $key $(cat "$value")"
  done
  ! command -v bridge >/dev/null 2>&1 || echo "vlans $bridge $(bridge -j vlan show | tr -d '\n')
ports $bridge $(bridge -j -d link show | tr -d '\n')"
done
