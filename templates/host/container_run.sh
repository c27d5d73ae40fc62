# Creates a container, connects it to its further networks, and starts it. A container with the mark
# is left from an interrupted apply: it only lacks the rest.
# Prelude: host/docker_id.sh
# Arguments: name, mark, the program container_create.pl, then network and address (`-`: Docker
# chooses) of each further network. Stdin: the settings, for that program.

name=$1 mark=$2 program=$3; shift 3
id=$(perl -e "$program" "$name") || {
  [ $? = 9 ] || exit 1
  # The name is taken. Asked only now: each docker command costs 15 to 50 ms.
  id=$(container_id "$name") && [ -n "$id" ] || exit 1
  [ "$(docker inspect --format '{{index .Config.Labels "provision"}}' "$id")" = "$mark" ] ||
    { echo "a container $name exists that is not of this inventory" >&2; exit 1; }
}
[ "$#" = 0 ] || joined=" $(docker inspect --format \
  '{{range $net, $_ := .NetworkSettings.Networks}}{{$net}} {{end}}' "$id")"
while [ "$#" -gt 0 ]; do
  network=$1 address=$2; shift 2
  case $joined in *" $network "*) continue ;; esac
  if [ "$address" = - ]; then docker network connect "$network" "$id"
  else docker network connect --ip "$address" "$network" "$id"; fi || exit
done
docker start "$id"
