# Makes netplan, with its renderer NetworkManager, agree with a NIC that became a port of a bridge, or left
# it. `netplan apply` would do more: it activates all NICs again.
# Prelude: host/nic_to_bridge.sh host/manager_networkmanager.sh
# Variables: manager_arguments
# Defines: after_lease write_profiles keep_address

# The profile of the NIC stays that of the file with its name, with the same UUID.
! exists "$nic" || own_uuid=$(sed -n 's/^connection-uuid=//p' "$devices/$(cat "/sys/class/net/$nic/ifindex")")
port_uuid=$own_uuid
write_profiles() { netplan generate; }
# netplan writes the file anew when it is called next.
keep_address() {
  own=$(grep -lsxF -e "interface-name=$nic" /run/NetworkManager/system-connections/netplan-* | head -n 1)
  [ -z "$leased" ] || [ -z "$own" ] || keeping_profile "$own" "$own"
}
after_lease() { netplan generate && nmcli connection reload && delete_doubled_routes; }
