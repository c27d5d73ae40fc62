# Connects a guest to a Docker network, and lets its answers leave there. Does nothing if that is so
# already, if the guest is absent, or if it joined the network by itself.
# Prelude: host/docker_id.sh host/guest.sh
# Arguments: network, selector, text, address or `-`, range or `-`, file of the record, mode,
# proposed address
# The proposed address is that of a guest without a fixed one, if nobody else has it.
# The record holds the id of the container that this program connected, and the network. In the mode `follow`, a guest
# that cannot be connected is told and left alone; in the mode `apply` it is an error.

guest_network=$1 guest_selector=$2 guest_text=$3 guest_address=$4 guest_range=$5 record=$6 doing=$7
refuse() { echo "guest $guest_text: $1" >&2; [ "$doing" = follow ]; exit; }
guest_find || exit
[ -n "$id" ] || exit 0
case $mode in host | none | container:*) refuse "network mode $mode has no further networks" ;; esac
net=$(network_id "$guest_network") || exit
[ -n "$net" ] || exit 0
guest_ends || exit
recorded=
[ ! -f "$record" ] || read -r recorded _ <"$record"
if [ -n "$joined" ] && [ "$guest_address" != - ] && [ "$fixed" != "$guest_address" ]; then
  [ "$recorded" = "$id" ] ||
    refuse "others connected it to $guest_network with another address than $guest_address"
  docker network disconnect "$guest_network" "$id" || exit
  joined=
fi
if [ -z "$joined" ]; then
  # The record comes first: what an interrupted run connected is known as ours.
  fresh=${record%/*}/.${record##*/}.provision-new
  mkdir -p "${record%/*}" && printf '%s\n' "$id $guest_network" >"$fresh" && mv -f "$fresh" "$record" || exit
  recorded=$id
  proposed=${8:-}
  set --; [ "$guest_address" = - ] || set -- --ip "$guest_address"
  [ -n "$proposed" ] && docker network connect --ip "$proposed" "$guest_network" "$id" 2>/dev/null ||
    docker network connect "$@" "$guest_network" "$id" || {
    rm -f "$record"
    # Compose may have removed it in the meantime: its successor is another event.
    guest_find && [ "$id" != "$recorded" ] && [ "$doing" = follow ]
    exit
  }
  guest_ends || exit
fi
# A guest that others connected keeps the default route that Docker gave it.
guest_keeps=; [ "$recorded" != "$id" ] || guest_keeps=yes
[ "$(guest_lacks)" = routes ] || exit 0
device=$(guest_device)
[ -n "$device" ] || refuse "it has no interface in $guest_network"
index=$(guest_in ip -o link show dev "$device") || exit
table=$((240000 + ${index%%:*}))
rule() { # priority, then the rule: once, and without the window of a rule that is made anew
  # shellcheck disable=SC2086 # a rule is several words
  guest_in ip -4 -N rule show | grep -q "^$1:.*$2" ||
    guest_in ip -4 rule add $2 priority "$1" protocol 240
}
guest_in ip -4 route replace default via "$gateway" dev "$device" proto 240 table "$table" || exit
if [ "$guest_range" != - ]; then
  guest_in ip -4 route replace "$guest_range" via "$gateway" dev "$device" proto 240 || exit
fi
if [ -n "$guest_keeps" ] && [ -n "$own" ]; then
  guest_in ip -4 route replace default via "$own" proto 240 table 2401 || exit
  rule 32002 "from all lookup 2401" || exit
fi
# Those of an interface that had the address before, with another number.
guest_in ip -4 -N rule show | sed -n "s/^32001:.*from $address lookup \([0-9]*\).*/\1/p" |
  while read -r old; do
    [ "$old" = "$table" ] ||
      guest_in ip -4 rule delete from "$address" lookup "$old" priority 32001 protocol 240 || exit
  done || exit
rule 32001 "from $address lookup $table" || exit
guest_in ip -4 -N rule show | grep -q '^32000:.*suppress_prefixlength 0' ||
  guest_in ip -4 rule add lookup 254 suppress_prefixlength 0 priority 32000 protocol 240
