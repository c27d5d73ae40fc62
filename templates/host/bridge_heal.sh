# Makes what the kernel lacks of a bridge of Docker: interface, address, route, ports.
# Prelude: host/docker_id.sh host/docker_owner.sh
# Arguments: bridge (empty: the network has none), Docker's network, gateway with prefix length
# (empty: only the ports), subnet, mark of a new bridge (`-`: none), containers to restart because
# they lack an interface or its address
# Docker makes a bridge when it creates its network or starts itself, and never again. The veth
# pairs of running containers outlive their bridge; a container without one has to start again.
# Docker deletes a bridge by its index, so the new one stays when its network goes: hence the mark.

bridge=$1 network=$2 address=$3 subnet=$4 mark=$5; shift 5
id=$(network_id "$network") || exit
[ -n "$id" ] || { echo "Docker has no network $network" >&2; exit 1; }
# Docker's own network `bridge` has no label.
owner=${mark#provision:}
[ "$network" = bridge ] || is_owned network "$id" "${owner%%/*}" || {
  echo "Docker's network $network is not of this inventory" >&2
  exit 1
}
if [ -n "$address" ]; then
  if [ ! -e "/sys/class/net/$bridge" ]; then
    alias=; [ "$mark" = - ] || alias="link set dev $bridge alias $mark"
    printf '%s\n' "link add name $bridge type bridge" "$alias" | ip -batch - || exit
  fi
  ip -4 -o address show dev "$bridge" | grep -qF " $address " ||
    ip address replace "$address" dev "$bridge" || exit
  # A new bridge has another MAC: it tells it to its ports when it comes up, so that containers
  # need not wait until their entry of the gateway has expired.
  sysctl -q -w "net.ipv4.conf.$bridge.arp_notify=1"
fi
containers=
[ -z "$bridge" ] || containers=$(docker network inspect --format \
  '{{range $id, $c := .Containers}}{{$id}} {{$c.MacAddress}}{{"\n"}}{{end}}' "$id") || exit
is_labelled() { [ -n "$(docker inspect --format '{{index .Config.Labels "provision"}}' "$1")" ]; }
printf '%s\n' "$containers" | {
  restarts=
  while read -r container mac; do
    [ -n "$container" ] || continue
    pid=$(docker inspect --format '{{.State.Pid}}' "$container") && [ "$pid" != 0 ] || continue
    # `5: eth0@if6: … link/ether MAC`: 6 is the index of the end on the host.
    index=$(nsenter -t "$pid" -n ip -o link | grep -F " $mac " | sed -n 's/^[^@]*@if\([0-9]*\):.*/\1/p')
    veth=
    for link in /sys/class/net/*; do
      [ -n "$index" ] && [ "$(cat "$link/ifindex" 2>/dev/null)" = "$index" ] && veth=${link##*/}
    done
    if [ -n "$veth" ]; then
      [ -e "/sys/class/net/$bridge/brif/$veth" ] || ip link set dev "$veth" master "$bridge" || exit
      ip link set dev "$veth" up || exit
    elif is_labelled "$container"; then
      restarts="$restarts $container"
    else
      echo "@note container $container of others has lost its link, and gets it back when it restarts"
    fi
  done
  if [ -n "$address" ]; then
    ip link set dev "$bridge" up || exit
    sysctl -q -w "net.ipv4.conf.$bridge.arp_notify=0"
    [ -n "$(ip -4 route show exact "$subnet" dev "$bridge")" ] ||
      ip route add "$subnet" dev "$bridge" proto kernel scope link src "${address%/*}" || exit
  fi
  for name; do
    container=$(container_id "$name") || exit
    case "$restarts " in *" $container "*) continue ;; esac
    ! is_labelled "$container" || restarts="$restarts $container"
  done
  printf '%s' "$restarts" | xargs -r -n 1 -P 8 docker restart >/dev/null
}
