# Makes systemd-networkd agree with a NIC that became a port of a bridge, or left it.
# Prelude: host/nic_to_bridge.sh host/networkd_port.sh
# Variables: manager_arguments
# Defines: after_join after_leave after_lease
# $manager_arguments: the NIC's own settings, by which it keeps its addresses until the DHCP server has
# answered; by those of its file systemd-networkd would remove them.

keeping=/run/systemd/network/05-provision-$nic.network
# A file that an earlier rollback left may sort before ours, which make the NIC a port.
after_join() { rm -f "$keeping" && reload_networkd && announce_bridge; }
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
