# Makes the device of an Open vSwitch bridge again after somebody has deleted it.
# In the userspace datapath the device is a tap, which `ip link delete` removes; ovs-vswitchd does not notice,
# and keeps the port. So the program removes the port from the datapath, and changes the database: ovs-vswitchd
# then makes port and device again, with the MAC of the bridge.
# Defines: renew_device forget_flows

renew_device() { # bridge
  [ ! -e "/sys/class/net/$1" ] || return 0
  # The datapath lacks the port, too, while the daemon starts.
  ovs-appctl -t ovs-vswitchd -T 10 dpctl/del-if netdev@ovs-netdev "$1" 2>/dev/null || :
  ovs-vsctl -t 20 set bridge "$1" other_config:provision-renewed="$(date +%s)" &&
    ovs-vsctl -t 20 remove bridge "$1" other_config provision-renewed
}
# When a bridge gets an address, ovs-vswitchd forgets the MACs of its tunnels' far ends. The main program learns
# them from ARP answers, but an old flow carries the answers past it. As long as the host itself asks for these
# addresses, that flow stays, and no tunnel sends. So all flows go; the next packet of each makes its flow again.
forget_flows() {
  for _ in 1 2 3; do
    sleep 1 # ovs-vswitchd hears of the address by netlink
    ! ovs-appctl -t ovs-vswitchd -T 10 revalidator/purge || return 0
  done
  return 1
}
