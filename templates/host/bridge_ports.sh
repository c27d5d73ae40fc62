# Plugs running containers into a bridge again that the host's network manager has made anew: their veth
# pairs outlive the bridge, and Docker plugs them in only when a container starts.
# Argument: bridge

bridge=$1
[ -d "/sys/class/net/$bridge/brif" ] || exit 0
loose=$(ip -o link show type veth nomaster) && [ -n "$loose" ] || exit 0
name='{{index .Options "com.docker.network.bridge.name"}} {{.Id}}'
networks=$(docker network ls --quiet --no-trunc --filter driver=bridge) &&
  networks=$(printf '%s\n' "$networks" | xargs -r docker network inspect --format "$name") || exit
shown='{{range $id, $c := .Containers}}{{$id}} {{$c.MacAddress}}{{"\n"}}{{end}}'
printf '%s\n' "$networks" | sed -n "s/^$bridge //p" | while read -r network; do
  docker network inspect --format "$shown" "$network"
done | while read -r container mac; do
  [ -n "$container" ] || continue
  pid=$(docker inspect --format '{{.State.Pid}}' "$container") && [ "$pid" != 0 ] || continue
  # `5: eth0@if6: … link/ether MAC`: 6 is the index of the end on the host.
  index=$(nsenter -t "$pid" -n ip -o link | grep -F " $mac " | sed -n 's/^[^@]*@if\([0-9]*\):.*/\1/p')
  veth=$(printf '%s\n' "$loose" | sed -n "s/^${index:-none}: *\([^@]*\)@.*/\1/p")
  [ -z "$veth" ] || ip link set dev "$veth" master "$bridge" up || exit
done
