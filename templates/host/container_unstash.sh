# Gives a stashed container its name back and lets it run as it did.
# Prelude: host/docker_id.sh
# Arguments: its name, the name of the stashed one, restart policy, status and network to restore,
# then options of `docker network connect`. Status 3: neither name is there.

name=$1 stashed_name=$2 restart=$3 status=$4 network=$5; shift 5
id=$(container_id "$stashed_name") || exit
if [ -n "$id" ]; then
  successor=$(container_id "$name")
  [ -z "$successor" ] || docker rm --force --volumes "$successor" >/dev/null || exit
  docker rename "$id" "$name" || exit
else
  id=$(container_id "$name")
  [ -n "$id" ] || { echo "the container $name is gone" >&2; exit 3; }
fi
docker update --restart "$restart" "$id" >/dev/null || exit
case $status in running | paused | restarting) ;; *) exit 0 ;; esac
# A stopped container keeps the id of its network: if that was made anew it does not start before it
# is connected to the new one (seen with Docker 20.10, 26.1 and 28.5).
docker start "$id" >/dev/null 2>&1 || {
  docker network disconnect --force "$network" "$id"
  docker network connect "$@" "$network" "$id" && docker start "$id" >/dev/null || exit
}
[ "$status" != paused ] || docker pause "$id" >/dev/null
