# What connection_join.sh, connection_leave.sh and look/connection.sh begin with: a container of ours,
# its end in a further network, and the rules that send its packets the right way.
# Prelude: host/docker_id.sh host/docker_owner.sh
# Variables: end_inventory end_container end_network end_range
# $end_network is Docker's name; $end_range is `-` where the peers are on the link.
# Functions: end_find sets $id, $pid and $mode of the container, $id is empty if there is none of ours;
# end_read reads its Docker networks and sets $joined (empty: it is not on the network), $address,
# $gateway, $fixed (`-`: Docker chose the address) and $own, the gateway of its first network; end_lacks
# prints what the end lacks: nothing, `connection` or `routes`.
# Defines: end_find end_read end_lacks end_in end_device

end_find() {
  pid=0 mode=''
  id=$(container_id "$end_container") || return
  [ -n "$id" ] || return 0
  is_owned container "$id" "$end_inventory"
  case $? in 0) ;; 1) id=''; return 0 ;; *) return 1 ;; esac
  end_state=$(docker inspect --type container --format '{{.State.Pid}} {{.HostConfig.NetworkMode}}' \
    "$id" 2>/dev/null) || end_state=
  # It may have been removed since.
  [ -n "$end_state" ] || { id=''; return 0; }
  pid=${end_state%% *} mode=${end_state#* }
  # Before Docker 28, a container without --network has the mode `default`.
  [ "$mode" != default ] || mode=bridge
}
end_in() { nsenter -t "$pid" -n "$@"; }
end_read() {
  address='' gateway='' fixed=- own='' joined=''
  end_every=$(docker inspect --type container --format \
    '{{range $name, $end := .NetworkSettings.Networks}}{{$name}} {{or $end.IPAddress "-"}} {{or $end.Gateway "-"}} {{with $end.IPAMConfig}}{{or .IPv4Address "-"}}{{else}}-{{end}}
{{end}}' "$id") || return
  while read -r end_name end_address end_gateway end_fixed; do
    case $end_name in
    "$end_network") joined=yes address=$end_address gateway=$end_gateway fixed=$end_fixed ;;
    "$mode") own=$end_gateway ;;
    esac
  done <<END
$end_every
END
  [ "$address" != - ] || address=''
  [ "$gateway" != - ] || gateway=''
  [ "$own" != - ] || own=''
}
end_device() {
  end_in ip -o -4 address show to "$address/32" | sed -n '1s/^[0-9]*: \([^ ]*\) .*/\1/p'
}
# Rules in the container's namespace: 32000 keeps every route of it but the default one, 32001 sends
# by a further network what has the container's address there, 32002 sends the rest by the first
# network. Docker before 28 gives the default route to the network that is first by name.
end_lacks() {
  [ -n "$joined" ] || { echo connection; return 0; }
  # The rules end with the process, and the address comes back with it.
  [ "$pid" != 0 ] || { echo routes; return 0; }
  [ -n "$gateway" ] || return 0
  device=$(end_device)
  end_rules=$(end_in ip -4 -N rule show)
  case $end_rules in *"32000:"*"suppress_prefixlength 0"*"32001:"*"from $address lookup "*"32002:"*) ;;
  *) echo routes; return 0 ;; esac
  [ -z "$own" ] || [ -n "$(end_in ip -4 -N route show default via "$own" table 2401 2>/dev/null)" ] ||
    { echo routes; return 0; }
  end_table=$(printf '%s\n' "$end_rules" | sed -n "s/^32001:.*from $address lookup \([0-9]*\).*/\1/p" | head -n 1)
  [ -n "$(end_in ip -4 -N route show default via "$gateway" table "$end_table" 2>/dev/null)" ] ||
    { echo routes; return 0; }
  [ "$end_range" = - ] ||
    [ -n "$(end_in ip -4 -N route show "$end_range" via "$gateway" dev "$device" 2>/dev/null)" ] ||
    { echo routes; return 0; }
}
