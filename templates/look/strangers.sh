# Running containers in Docker networks of the inventory, whoever made them, for `verify --all`.
# Prelude: look/prelude.sh
# Variables: docker_networks
# Lines: `stranger NETWORK NAME PID ADDRESS OWNER`; OWNER is the label `provision`, `-` for none.

need_docker
for network in $docker_networks; do
  ids=$(docker ps --quiet --no-trunc --filter "network=$network") || exit
  for id in $ids; do
    # It may have been removed since.
    docker inspect --type container --format "{{\$c := .}}{{range \$name, \$end := .NetworkSettings.Networks}}stranger {{\$name}} {{\$c.Name}} {{\$c.State.Pid}} {{or \$end.IPAddress \"-\"}} {{or (index \$c.Config.Labels \"provision\") \"-\"}}
{{end}}" "$id" 2>/dev/null | grep "^stranger $network "
  done
done
:
