# Makes systemd-networkd agree with a NIC that became a port of a bridge, or left it.
# Prelude: host/nic_to_bridge.sh host/networkd_port.sh
# Defines: after_join after_leave

after_join() { reload_networkd; }
after_leave() { reload_networkd; }
