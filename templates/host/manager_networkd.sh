# Makes systemd-networkd agree with a NIC that became a port of a bridge, or left it.
# Prelude: host/nic_to_bridge.sh host/networkd_port.sh
# Variables: manager_arguments
# Defines: after_join after_leave after_lease
# $manager_arguments: the NIC's own settings, by which it keeps its addresses until the DHCP server has
# answered; by those of its file systemd-networkd would remove them.

after_join() { reload_networkd; }
keeping=/run/systemd/network/05-provision-$bridge-nic.network
after_leave() {
  [ -z "$leased" ] ||
    { mkdir -p "${keeping%/*}" && printf '[Match]\nName=%s\n\n%s' "$nic" "$manager_arguments" >"$keeping"; } ||
    return
  reload_networkd
}
after_lease() {
  rm -f "$keeping" || return
  rmdir "${keeping%/*}" 2>/dev/null || : # the folder, if it was made for the file
  reload_networkd
}
