# Makes the device of an Open vSwitch bridge anew that somebody has deleted.
# `ip link delete` can do so with the userspace datapath, whose devices are taps. ovs-vswitchd does not notice,
# and keeps a port without a device. Once its datapath has the port no more, it makes both again, with the
# MAC of the bridge, as soon as something changes in its database.
# Defines: renew_device forget_flows

renew_device() { # bridge
  [ ! -e "/sys/class/net/$1" ] || return 0
  # The datapath lacks the port, too, while the daemon starts.
  ovs-appctl -t ovs-vswitchd -T 10 dpctl/del-if netdev@ovs-netdev "$1" 2>/dev/null || :
  ovs-vsctl -t 20 set bridge "$1" other_config:provision-renewed="$(date +%s)" &&
    ovs-vsctl -t 20 remove bridge "$1" other_config provision-renewed
}
# The daemon forgets the MAC addresses of its tunnels' far ends when their bridge gets an address. It learns them
# from ARP answers that its main program sees, but those that go through an old flow pass it by: no tunnel
# sends anything then, for as long as the host itself asks for these addresses. Flows of all bridges go: the next
# packet of each makes its flow again.
forget_flows() {
  for _ in 1 2 3; do
    sleep 1 # it hears of the address by netlink
    ! ovs-appctl -t ovs-vswitchd -T 10 revalidator/purge || return 0
  done
}
