# Takes an interface away from a container again; a NIC goes back to the host as it was.
# Prelude: host/container_interface.sh
# Docker takes a name that nobody has for the beginning of an id, and others may have made a container of
# the name: what is without our label, and without an interface with our mark, is left alone.

touched=
if [ "$pid" != 0 ]; then
  now=$(within ip -o link show dev "$interface" 2>/dev/null | alias_of)
  owner=${mark#provision:}
  case $now in
  "$mark" | "$mark+") touched=yes ;;
  *)
    label=$(docker inspect --type container \
      --format '{{.Name}} {{index .Config.Labels "provision"}}/' -- "$container" 2>/dev/null)
    case $label in "/$container ${owner%%/*}/"*) touched=yes ;; esac ;;
  esac
fi
if [ "$way" = nic ]; then
  [ -e "$hold" ] || [ "$pid" = 0 ] ||
    ! within ip -o link show dev "$interface" 2>/dev/null | grep -q "alias $mark" || held || exit
  home || exit
fi
[ "$way" != ovs ] || ovs-vsctl --timeout=10 --if-exists del-port "$outer" || exit
if [ -n "$touched" ]; then
  case $now in "$mark" | "$mark+")
    [ "$way" = nic ] || within ip link delete dev "$interface" || exit
  esac
  for priority in $(echo "$priorities" | tr ',' ' ' | tr -d -); do
    # Docker's interface, which stays, has the routes for answers of published ports.
    within ip -4 -N rule show priority "$priority" 2>/dev/null | grep -q ' lookup 2400 ' &&
      within ip -4 route flush table 2400
    within ip -4 rule delete protocol 240 priority "$priority" 2>/dev/null
    within ip -6 rule delete protocol 240 priority "$priority" 2>/dev/null
  done
  # Docker's own default route gave way to ours.
  via=$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.Gateway}} {{end}}' \
    -- "$container" 2>/dev/null)
  via=${via%% *}
  [ -z "$via" ] || [ -n "$(within ip -4 route show default)" ] ||
    within ip -4 route add default via "$via" || :
fi
[ ! -e "/sys/class/net/$outer" ] || [ "$way" = nic ] || ip link delete dev "$outer" || exit
if [ "$way" = macvlan ] && [ "$vlan" != - ]; then # its VLAN goes with the last that is on it
  below=$(ip -o -d link show type vlan | grep -E ' alias provision:[^ \\]+ *(\\|$)' |
    sed -n "s/^[0-9]*: \([^@]*\)@$on: .* id $vlan .* alias provision:\([^/ \\\\]*\).*/\1 \2/p")
  used=
  # Attachments of every inventory take a VLAN link that is there already, whoever has made it.
  for claim in "${claims%/*/*}"/*/attachments/*/*; do
    [ "$claim" != "$claims/$container/$interface" ] && [ -f "$claim" ] || continue
    read -r kind _ parent _ _ tag _ <"$claim"
    [ "$kind $parent $tag" != "macvlan $on $vlan" ] || used=yes
  done
  origins=${claims%/etc/provision/*}/var/lib/provision/origins
  printf '%s\n' "$below" | while read -r link owner; do
    [ -n "$link" ] || continue
    # The claims of another inventory may be lost, while its interfaces are there: its link stays.
    if [ "provision:$owner" != "${mark%%/*}" ] && [ -e "$origins/$owner" ] &&
      [ ! -d "${claims%/*/*}/$owner" ]; then continue; fi
    if [ -z "$used" ]; then ip link delete dev "$link" || exit
    # ATTACH, which may follow, only raises a link that it makes.
    else ip link set dev "$link" up 2>/dev/null || :; fi
  done || exit
fi
:
