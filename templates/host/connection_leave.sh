# Takes a container of ours off a further Docker network, and our rules for it out of the container.
# Prelude: host/docker_id.sh host/docker_owner.sh host/connection.sh
# Arguments: as connection_join.sh, without the mode

# shellcheck disable=SC2034 # the range is that of the prelude's functions
end_inventory=$1 end_container=$2 end_network=$3 end_range=$5
end_find || exit
[ -n "$id" ] || exit 0
end_read || exit
[ -n "$joined" ] || exit 0
if [ "$pid" != 0 ] && [ -n "$address" ]; then
  # Only the rules of ours, by our protocol number: Docker's routes are left to Docker.
  end_in ip -4 -N rule show | sed -n "s/^32001:.*from $address lookup \([0-9]*\).*/\1/p" |
    while read -r table; do
      end_in ip -4 route flush table "$table" 2>/dev/null
      end_in ip -4 rule delete from "$address" lookup "$table" priority 32001 protocol 240 || exit
    done || exit
  device=$(end_device)
  [ -z "$device" ] || end_in ip -4 route flush dev "$device" proto 240
  if ! end_in ip -4 -N rule show | grep -q '^32001:'; then # another further network needs them
    end_in ip -4 rule delete priority 32002 protocol 240 2>/dev/null
    end_in ip -4 rule delete priority 32000 protocol 240 2>/dev/null
    end_in ip -4 route flush table 2401 2>/dev/null
  fi
fi
# A person may have put a network in the place of ours, or removed ours while the container did not run.
# Docker's own network `bridge` has no label.
net=$(network_id "$end_network") || exit
if [ -n "$net" ] && [ "$end_network" != bridge ]; then
  is_owned network "$net" "$end_inventory"
  case $? in
  0) ;;
  1) echo "@note Docker's network $end_network keeps $end_container: it is not of this inventory"; exit ;;
  *) exit 1 ;;
  esac
fi
docker network disconnect "$end_network" "$id"
