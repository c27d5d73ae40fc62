# Connects a container of ours to a further Docker network, and sends its packets the right way. Does
# nothing if that is so already.
# Prelude: host/docker_id.sh host/docker_owner.sh host/connection.sh
# Arguments: inventory, container, network, address or `-`, range or `-`, mode
# In the mode `follow`, a container that is not connected is left alone: Docker itself connects it at
# each start, so a person has disconnected it. In the mode `apply`, an absent container is an error.

end_inventory=$1 end_container=$2 end_network=$3 end_wanted=$4 end_range=$5 doing=$6
end_find || exit
if [ -z "$id" ]; then
  [ "$doing" = apply ] || exit 0
  echo "no container $end_container of this inventory" >&2
  exit 1
fi
end_read || exit
if [ "$doing" = apply ]; then
  if [ -n "$joined" ] && [ "$fixed" != "$end_wanted" ]; then
    docker network disconnect "$end_network" "$id" || exit
    joined=''
  fi
  if [ -z "$joined" ]; then
    set --; [ "$end_wanted" = - ] || set -- --ip "$end_wanted"
    docker network connect "$@" "$end_network" "$id" || exit
    end_find && end_read || exit
  fi
fi
[ -n "$id" ] && [ "$pid" != 0 ] && kill -0 "$pid" 2>/dev/null && [ "$(end_lacks)" = routes ] || exit 0
device=$(end_device)
if [ -z "$device" ]; then
  kill -0 "$pid" 2>/dev/null || exit 0 # it has ended in the meantime: its next start is an event
  echo "container $end_container has no interface in $end_network" >&2
  exit 1
fi
index=$(end_in ip -o link show dev "$device") || exit
table=$((240000 + ${index%%:*}))
rule() { # priority, then the rule: once, and without the window of a rule that is made anew
  # shellcheck disable=SC2086 # a rule is several words
  end_in ip -4 -N rule show | grep -q "^$1:.*$2" || end_in ip -4 rule add $2 priority "$1" protocol 240
}
end_in ip -4 route replace default via "$gateway" dev "$device" proto 240 table "$table" || exit
if [ "$end_range" != - ]; then
  end_in ip -4 route replace "$end_range" via "$gateway" dev "$device" proto 240 || exit
fi
if [ -n "$own" ]; then
  end_in ip -4 route replace default via "$own" proto 240 table 2401 || exit
fi
# In this order, so that no packet takes a wrong default route in between.
end_in ip -4 -N rule show | grep -q '^32000:.*suppress_prefixlength 0' ||
  end_in ip -4 rule add lookup 254 suppress_prefixlength 0 priority 32000 protocol 240 || exit
# An address that the container had before, or an interface that has another number since.
end_in ip -4 -N rule show | sed -n "s/^32001:.*from $address lookup \([0-9]*\).*/\1/p" |
  while read -r old; do
    [ "$old" = "$table" ] || end_in ip -4 rule delete from "$address" lookup "$old" priority 32001 || exit
  done || exit
rule 32001 "from $address lookup $table" || exit
rule 32002 "from all lookup 2401"
