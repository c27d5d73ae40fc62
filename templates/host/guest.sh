# What guest_connect.sh, guest_disconnect.sh and look/guest.sh begin with: find a guest, and its
# interface in a network. A guest is a container that others made.
# Prelude: host/docker_id.sh
# Variables: guest_network guest_selector guest_text guest_address guest_range
# $guest_selector is `container` or `label`; $guest_address and $guest_range are `-` for none.
# Functions: guest_find sets $id, $pid and $mode of the guest, $id is empty if none, or not a single
# one, can be it; guest_ends reads its Docker networks and sets $address, $gateway (of our network),
# $fixed and $own (the gateway of the network that had the default route before ours, empty: none);
# guest_lacks prints what the guest's connection lacks: nothing, `connection` or `routes`.
# Defines: guest_find guest_ends guest_lacks guest_in guest_device

# Of several containers, a single one that runs is the guest: Compose makes the new container before
# it removes the old one. Containers of `docker compose run` have the labels of their service, too.
guest_find() {
  id='' pid=0 mode=''
  case $guest_selector in
  container) id=$(container_id "$guest_text") || return ;;
  label)
    every=$(docker ps --all --no-trunc --filter "label=$guest_text" \
      --format '{{.ID}} {{.Status}} {{.Label "com.docker.compose.oneoff"}}') || return
    every=$(printf '%s\n' "$every" | grep -v ' True$')
    id=$(printf '%s\n' "$every" | sed -n 's/ \(Up\|Restarting\) .*//p')
    [ -n "$id" ] || id=$(printf '%s\n' "$every" | cut -d ' ' -f 1)
    [ "$(printf '%s\n' "$id" | wc -l)" = 1 ] || id='' ;;
  esac
  [ -n "$id" ] || return 0
  guest_state=$(docker inspect --type container --format '{{.State.Pid}} {{.HostConfig.NetworkMode}}' \
    "$id" 2>/dev/null) || guest_state=
  # It may have been removed since.
  [ -n "$guest_state" ] || { id=; return 0; }
  pid=${guest_state%% *} mode=${guest_state#* }
}
guest_in() { nsenter -t "$pid" -n "$@"; }
# Without our networks Docker gives the default route to the network with the highest priority, and
# of those to the first by name; a network that is internal has none. Docker names GwPriority since 28,
# and 29 prints an empty address as `invalid IP`.
guest_ends() {
  address='' gateway='' fixed='' own='' joined=''
  guest_nets=$(docker inspect --type container --format \
    '{{range $name, $end := .NetworkSettings.Networks}}{{$name}} {{or $end.IPAddress "-"}} {{or $end.Gateway "-"}} {{with $end.IPAMConfig}}{{or .IPv4Address "-"}}{{else}}-{{end}} {{json $end}}
{{end}}' "$id" | sed 's/ invalid IP/ -/g;s/ {.*"GwPriority":\(-\{0,1\}[0-9]*\).*/ \1/;s/ {.*/ 0/') || return
  guest_ours=$(printf '%s\n' "$guest_nets" | grep "^$guest_network ") && joined=yes
  read -r _ address gateway fixed _ <<END
$guest_ours
END
  [ "$address" != - ] || address=
  [ "$gateway" != - ] || gateway=
  [ "$pid" != 0 ] || return 0
  guest_made=$(cat /var/lib/provision/guests/*/* 2>/dev/null)
  while read -r guest_net _ guest_via _ _; do
    [ -n "$guest_net" ] && [ "$guest_net" != "$guest_network" ] && [ "$guest_via" != - ] || continue
    # Another network that provision connected has not given it its default route either.
    case "
$guest_made
" in *"
$id $guest_net
"*) continue ;; esac
    [ "$(docker network inspect --format '{{.Internal}}' "$guest_net" 2>/dev/null)" = false ] || continue
    own=$guest_via
    break
  done <<END
$(printf '%s\n' "$guest_nets" | sort -k 5,5nr -k 1,1)
END
}
guest_device() {
  guest_in ip -o -4 address show to "$address/32" | sed -n '1s/^[0-9]*: \([^ ]*\) .*/\1/p'
}
# Rules of ours in the guest's namespace: 32000 keeps every route of it but the default one, 32001
# sends by our network what has the guest's address there, 32002 gives the default route back to the
# network that had it.
guest_lacks() {
  [ -n "$joined" ] || { echo connection; return 0; }
  [ "$pid" != 0 ] && [ -n "$gateway" ] || return 0
  device=$(guest_device)
  rules=$(guest_in ip -4 -N rule show)
  case $rules in *"32000:"*"suppress_prefixlength 0"*"32001:"*"from $address lookup "*) ;;
  *) echo routes; return 0 ;; esac
  # An interface that is made anew has another number, and so another table.
  guest_table=$(printf '%s\n' "$rules" | sed -n "s/^32001:.*from $address lookup \([0-9]*\).*/\1/p" | head -n 1)
  [ -n "$(guest_in ip -4 -N route show default via "$gateway" table "$guest_table" 2>/dev/null)" ] ||
    { echo routes; return 0; }
  [ -z "$guest_keeps" ] || [ -z "$own" ] ||
    [ -n "$(guest_in ip -4 -N route show default via "$own" table 2401 2>/dev/null)" ] ||
    { echo routes; return 0; }
  [ "$guest_range" = - ] ||
    [ -n "$(guest_in ip -4 -N route show "$guest_range" via "$gateway" dev "$device" 2>/dev/null)" ] ||
    { echo routes; return 0; }
}
