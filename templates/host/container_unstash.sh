# Gives a stashed container its name back and lets it run as it did.
# Prelude: host/docker_id.sh host/docker_owner.sh
# Arguments: its name, the name of the stashed one, the inventory, restart policy, status, network,
# address and MAC to restore (`-`: Docker chooses), and the program network_connect.pl (empty where the
# MAC is `-`). Status 3: neither name is there.
# A container of others that has taken the name stays; the stashed one then keeps its own.

name=$1 stashed_name=$2 inventory=$3 restart=$4 status=$5 network=$6
address=$7 mac=$8 connect=$9
id=$(container_id "$stashed_name") || exit
if [ -n "$id" ]; then
  is_owned container "$id" "$inventory" || exit 1
  successor=$(container_id "$name") || exit 1
  if [ -n "$successor" ]; then
    is_owned container "$successor" "$inventory" || {
      echo "container $name is not of this inventory: $stashed_name keeps its name" >&2
      exit 1
    }
    docker rm --force --volumes "$successor" >/dev/null || exit
  fi
  docker rename "$id" "$name" || exit
else
  id=$(container_id "$name") || exit 1
  [ -n "$id" ] || { echo "the container $name is gone" >&2; exit 3; }
  is_owned container "$id" "$inventory" || exit 1
fi
docker update --restart "$restart" "$id" >/dev/null || exit
case $status in running | paused | restarting) ;; *) exit 0 ;; esac
started() { docker start "$id" >/dev/null; }
# A stopped container keeps the id of its network: if that was made anew it does not start before it
# is connected to the new one (seen with Docker 20.10, 26.1 and 28.5).
reconnected() {
  net=$(network_id "$network") || return
  [ -z "$net" ] || [ "$network" = bridge ] || is_owned network "$net" "$inventory" || {
    echo "Docker's network $network is not of this inventory: container $name stays stopped" >&2
    return 1
  }
  docker network disconnect --force "$network" "$id"
  if [ "$mac" != - ]; then perl -e "$connect" "$network" "$id" "$address" "$mac"
  elif [ "$address" != - ]; then docker network connect --ip "$address" "$network" "$id"
  else docker network connect "$network" "$id"; fi
}
started 2>/dev/null || {
  # Nothing is to be connected: Docker tells what else the start lacks.
  case $network in host | none | container:*) ;; *) reconnected || exit ;; esac
  started || exit
}
[ "$status" != paused ] || docker pause "$id" >/dev/null
