# Gives a stashed container its name back and lets it run as it did; one that did not run can be started.
# Prelude: host/docker_id.sh host/docker_owner.sh host/container_start.sh
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
case $status in
running | paused | restarting) start_connected || exit ;;
*) ! stale || reconnected || exit; exit 0 ;;
esac
[ "$status" != paused ] || docker pause "$id" >/dev/null
