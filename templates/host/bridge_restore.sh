# Gives a bridge back what the host's network manager has taken away: ports, and of a bridge of Docker its
# address and route. A file of systemd-networkd for all links (`Name=*`) does so when it restarts, and
# `netplan apply` makes the bridges of NetworkManager anew. Docker sets them only when it starts, or starts
# a container. What a person has taken away stays away until the next apply.
# Prelude: host/networkd_link.sh
# Arguments: bridge, its address with prefix length (empty: only the ports), its range, `anew` for a bridge
# that its manager makes anew (`-`: one that it does not)

bridge=$1 address=$2 subnet=$3 manager=$4
[ -d "/sys/class/net/$bridge/brif" ] || exit 0
if [ -n "$address" ] && is_taken "$bridge"; then
  ip -4 -o address show dev "$bridge" | grep -qF " $address " ||
    ip address replace "$address" brd + dev "$bridge" || exit
  # A bridge that is down takes no route.
  [ -z "$(ip link show dev "$bridge" up)" ] ||
    [ -n "$(ip -4 route show exact "$subnet" dev "$bridge")" ] ||
    ip route add "$subnet" dev "$bridge" proto kernel scope link src "${address%/*}" || exit
fi
lost=
for link in $(ip -o link show type veth nomaster | sed -n 's/^[0-9]*: *\(veth[^@]*\)@.*/\1/p'); do
  [ "$manager" != anew ] && ! is_taken "$link" || lost="$lost $link"
done
[ -n "$lost" ] || exit 0
name='{{index .Options "com.docker.network.bridge.name"}} {{.Id}}'
networks=$(docker network ls --quiet --no-trunc --filter driver=bridge) &&
  networks=$(printf '%s\n' "$networks" | xargs -r docker network inspect --format "$name") || exit
# shellcheck disable=SC2016 # a template of Docker
shown='{{range $id, $c := .Containers}}{{$id}} {{$c.MacAddress}}{{"\n"}}{{end}}'
printf '%s\n' "$networks" | sed -n "s/^$bridge //p" | while read -r network; do
  docker network inspect --format "$shown" "$network"
done | while read -r container mac; do
  [ -n "$container" ] || continue
  pid=$(docker inspect --format '{{.State.Pid}}' "$container") && [ "$pid" != 0 ] || continue
  # `5: eth0@if6: … link/ether MAC`: 6 is the index of the end on the host.
  end=$(nsenter -t "$pid" -n ip -o link | grep -F " $mac " | sed -n 's/^[^@]*@if\([0-9]*\):.*/\1/p')
  for link in $lost; do
    read -r index 2>/dev/null <"/sys/class/net/$link/ifindex" || continue
    [ "$index" != "$end" ] || ip link set dev "$link" master "$bridge" up || exit
  done
done
