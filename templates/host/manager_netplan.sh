# Makes netplan, with its renderer networkd, agree with a NIC that became a port of a bridge, or left
# it. `netplan apply` would do more: it configures all interfaces again.
# Prelude: host/nic_to_bridge.sh host/networkd_port.sh
# Defines: after_join after_leave

generate() { netplan generate && reload_networkd; }
after_join() { generate; }
after_leave() { generate; }
