"""Shell programs of kind `container`, which leave the containers of others alone. Pure."""

from __future__ import annotations

from provision.resources.render import program_text

_DOCKER_ID = program_text("host/docker_id.sh", "host/docker_owner.sh")
# Sets $id to the id of the container `$1`: empty if there is none, or none of the inventory `$2`.
_OWNED_ID = (
    _DOCKER_ID
    + r"""
owned_id() {
  id=$(container_id "$1") || return
  [ -n "$id" ] || return 0
  is_owned container "$id" "$2" && return
  [ $? = 1 ] && id= && echo "@note container $1 was left: it is not of this inventory"
}
"""
)
RUN = program_text("host/docker_id.sh", "host/container_run.sh")
CREATE = program_text("host/docker_post.pl", "host/container_create.pl")
CONNECT = program_text("host/docker_post.pl", "host/network_connect.pl")
# --volumes removes anonymous volumes; named ones stay.
REMOVE = (
    _OWNED_ID
    + r"""
owned_id "$1" "$2" || exit
[ -z "$id" ] || docker rm --force --volumes "$id"
"""
)
# The restart policy is disabled first: Docker would start the stashed container at a reboot.
# `kill`, because `stop` would wait up to 10 s for each container.
STASH = (
    _OWNED_ID
    + r"""
owned_id "$1" "$3" || exit
if [ -n "$id" ]; then docker rename "$id" "$2" || exit; else owned_id "$2" "$3" || exit; fi
[ -n "$id" ] || exit 0
docker update --restart no "$id" >/dev/null || exit
docker kill "$id" >/dev/null 2>&1
[ "$(docker inspect --format '{{.State.Running}}' "$id")" = false ]
"""
)
_START = program_text("host/container_start.sh")
UNSTASH = _DOCKER_ID + _START + program_text("host/container_unstash.sh")
# Arguments: container, inventory, then what `container_start.sh` takes.
START = (
    _OWNED_ID
    + _START
    + r"""
owned_id "$1" "$2" || exit
name=$1 inventory=$2 network=$3 address=$4 mac=$5 connect=$6
[ -n "$id" ] || { echo "no container $name of this inventory" >&2; exit 1; }
start_connected
"""
)
# Arguments: container, inventory, then a docker command; the id is its last argument.
DO = (
    _OWNED_ID
    + r"""
owned_id "$1" "$2" || exit
[ -n "$id" ] || { echo "no container $1 of this inventory" >&2; exit 1; }
shift 2
exec docker "$@" "$id"
"""
)
IS_FOREIGN = (
    _DOCKER_ID
    + r"""
id=$(container_id "$1") && [ -n "$id" ] || exit 1
is_owned container "$id" "$2"
[ $? = 1 ]
"""
)
