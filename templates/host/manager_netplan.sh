# Makes netplan, with its renderer networkd, agree with a NIC that became a port of a bridge, or left
# it. `netplan apply` would do more: it configures all interfaces again.
# Prelude: host/nic_to_bridge.sh host/networkd_port.sh
# Variables: manager_arguments
# Defines: after_join after_leave after_lease
# $manager_arguments: the name of the NIC's entry. A drop-in for it keeps the addresses of the NIC until
# the DHCP server has answered, when systemd-networkd would remove them.

keeping=/run/systemd/network/10-netplan-$manager_arguments.network.d/provision.conf
generate() { netplan generate && reload_networkd; }
# An earlier rollback may have left the drop-in.
after_join() {
  rm -f "$keeping" || return
  rmdir "${keeping%/*}" 2>/dev/null || : # the folder is there only with the drop-in
  generate && announce_bridge
}
after_leave() {
  [ -z "$leased" ] ||
    { mkdir -p "${keeping%/*}" && printf '[Network]\nKeepConfiguration=static\n' >"$keeping"; } ||
    return
  generate
}
after_lease() { rm -f "$keeping" && rmdir "${keeping%/*}" && reload_networkd; }
