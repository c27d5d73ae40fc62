# Takes a guest off a Docker network if guest_connect.sh connected it, and our routes out of it. The
# guest keeps running, on all its other networks.
# Prelude: host/docker_id.sh host/guest.sh
# Arguments: as guest_connect.sh, without the mode

# shellcheck disable=SC2034 # the address is that of the prelude's arguments
guest_network=$1 guest_selector=$2 guest_text=$3 guest_address=$4 guest_range=$5 record=$6
recorded=
[ ! -f "$record" ] || read -r recorded _ <"$record"
guest_find || exit
if [ -n "$recorded" ] && [ "$recorded" != "$id" ]; then
  # The guest has another name or label now, or a second one has come.
  id=$recorded
  found=$(docker inspect --type container --format '{{.State.Pid}}' "$id" 2>&1) ||
    case $found in *[Nn]'o such container'*) id='' ;; *) echo "$found" >&2; exit 1 ;; esac
  pid=${found##*[!0-9]}
fi
[ -n "$id" ] || exit 0
guest_ends || exit
if [ "$pid" != 0 ] && [ -n "$address" ]; then
  # Only the rules of ours, by our protocol number: Docker's routes are left to Docker.
  guest_in ip -4 -N rule show | sed -n "s/^32001:.*from $address lookup \([0-9]*\).*/\1/p" |
    while read -r table; do
      guest_in ip -4 route flush table "$table" 2>/dev/null
      guest_in ip -4 rule delete from "$address" lookup "$table" priority 32001 protocol 240 || exit
    done || exit
  device=$(guest_device)
  [ -z "$device" ] || guest_in ip -4 route flush dev "$device" proto 240
  if ! guest_in ip -4 -N rule show | grep -q '^32001:'; then # another network of ours needs them
    guest_in ip -4 rule delete priority 32002 protocol 240 2>/dev/null
    guest_in ip -4 rule delete priority 32000 protocol 240 2>/dev/null
    guest_in ip -4 route flush table 2401 2>/dev/null
  fi
fi
[ "$recorded" = "$id" ] && [ -n "$joined" ] || exit 0
docker network disconnect "$guest_network" "$id"
