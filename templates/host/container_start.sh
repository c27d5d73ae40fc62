# Starts a stopped container. That keeps the id of its network: if that was made anew, it does not start
# before it is connected to the new one (seen with Docker 20.10, 26.1 and 28.5).
# Prelude: host/docker_id.sh host/docker_owner.sh
# Variables: id name inventory network address mac connect
# $id and $name are the container's, $network its network, $address and $mac what it is to have there
# (`-`: Docker chooses); $connect is the program network_connect.pl (empty where the MAC is `-`).
# Defines: start_connected stale reconnected

stale() { # Docker itself finds its default network, which it makes anew at each start
  case $network in bridge | host | none | container:* | '') return 1 ;; esac
  net=$(network_id "$network") && [ -n "$net" ] || return
  format="{{with index .NetworkSettings.Networks \"$network\"}}{{.NetworkID}}{{end}}"
  kept=$(docker inspect --type container --format "$format" "$id") || return
  [ "$kept" != "$net" ]
}
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
started() { docker start "$id" >/dev/null; }
start_connected() {
  started 2>/dev/null && return
  # Where nothing is to be connected, Docker tells what else the start lacks.
  ! { [ "$network" = bridge ] || stale; } || reconnected || return
  started
}
