# The further networks of containers that this inventory has claimed on the host, and the state of each.
# Prelude: look/prelude.sh host/docker_id.sh host/docker_owner.sh host/connection.sh
# Variables: name
# Lines: `claim CONTAINER NETWORK DOCKER_NETWORK ADDRESS RANGE FIRST`, and `state CONTAINER NETWORK PID
# ADDRESS LACKS` (`-` for a field without a value) for a container that is there.

need_docker
need nsenter
# shellcheck disable=SC2034 # for the prelude's functions
end_inventory=$name
for claim in /etc/provision/"$name"/connections/*/*; do
  [ -f "$claim" ] || continue
  read -r end_network wanted end_range first <"$claim" || continue
  network=${claim##*/} end_container=${claim%/*} end_container=${end_container##*/}
  echo "claim $end_container $network $end_network $wanted $end_range $first"
  end_find && [ -n "$id" ] || continue
  end_read || continue
  lacks=$(end_lacks)
  [ -z "$joined" ] || [ "$fixed" = "$wanted" ] || lacks=address
  echo "state $end_container $network $pid ${address:--} ${lacks:--}"
done
