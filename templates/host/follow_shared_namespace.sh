# Restarts a container of mode `container:NAME` whose owner has a new network namespace.
# Arguments: the container, and the container whose namespace it shares (the owner).
# The follower runs this at every start of a container. A container that ended after its owner had
# started was stopped by a person, and one without a restart policy was stopped by Docker: both stay
# stopped. The restart waits only 2 s for its programs, since they have no network any more.
# The hosts keep this text in volatile.sh and the plan compares it: no byte below may change.

state() { # name, fields
  docker inspect --type container --format "{{.State.Running}} {{.State.Pid}} $2" -- "$1"
}
sharer_has='{{.State.FinishedAt}} {{with index .Config.Labels "provision"}}ours{{end}}'
sharer_has="$sharer_has {{.HostConfig.RestartPolicy.Name}}"
owner=$(state "$2" '{{.State.StartedAt}}' 2>/dev/null) || exit 0
sharer=$(state "$1" "$sharer_has" 2>/dev/null) || exit 0
set -- "$1" $owner $sharer
# A person may have made another container of that name.
[ "$2" = true ] && [ "$8" = ours ] || exit 0
if [ "$5" = true ]; then
  [ -e "/proc/$3/ns/net" ] && [ -e "/proc/$6/ns/net" ] || exit 1
  [ "/proc/$3/ns/net" -ef "/proc/$6/ns/net" ] && exit 0
else
  [ "$9" != no ] && expr "$4" \> "$7" >/dev/null || exit 0
fi
docker restart -t 2 "$1" >/dev/null
