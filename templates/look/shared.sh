# Asks once for the answers that several kinds read, and prints them as `KEY ANSWER` lines.
# Prelude: look/need.sh look/bounded.sh look/prelude.sh
# Variables: name peers docker_program
# Defines: docker docker_error docker_tables answers ovs units iptables_version iptables_rules forward forwards
# $docker_program is look/docker_api.pl followed by look/docker_snapshot.pl.

if command -v docker >/dev/null 2>&1; then
  docker_error='it is stopped, hangs, or starts'
  command -v perl >/dev/null 2>&1 || docker_error='perl is missing, which asks it'
  answers=$(bounded perl -e "$docker_program")
  case $? in 0) docker='yes'; printf '%s\n' "$answers" ;; 3) docker='cut' ;; esac
fi
# Docker's backend nftables makes a base chain with jumps to the chains of its bridges when it starts,
# and never again.
case $answers in *'"FirewallBackend":{"Driver":"nftables'*)
  docker_tables=flushed
  case $(nft list chain ip docker-bridges filter-FORWARD 2>/dev/null) in
  *@filter-forward-in-jumps*) docker_tables=intact ;;
  esac ;;
esac
if command -v ip >/dev/null 2>&1; then
  # The controller looks the routes to the peers up in the tables. Rules, routes with several
  # gateways and nexthop objects leave them open: then sed writes `open` to descriptor 3, which is
  # the variable. A kernel without rules prints no fourth line.
  usual='{"priority":0,"src":"all","table":"255"},{"priority":32766,"src":"all","table":"254"}'
  usual="\\[$usual,{\"priority\":32767,\"src\":\"all\",\"table\":\"253\"}\\]"
  {
    open=$(
      printf '%s\n' 'address show' 'route show table main' 'route show table all' 'rule show' |
        ip -N -j -force -batch - 2>/dev/null |
        sed -e '1s/^/addresses /' -e '3s/^/every_route /' \
          -e '2{h;/"nexthops":\|"nhid":/{s/.*/open/;w /dev/fd/3' -e '};g;s/^/routes /}' \
          -e "4{h;/^$usual\$/!{s/.*/open/;w /dev/fd/3" -e '};g;s/^/rules /}' 3>&1 >&4
    )
  } 4>&1
  if [ -n "$open" ]; then
    echo 'ways asked'
    for peer in $peers; do echo "route get $peer"; done |
      # A peer without a route prints no line.
      ip -N -j -force -batch - 2>/dev/null | sed 's/^/way /'
  fi
fi
# By its process id: on some hosts systemd listens at its socket, and asking there would start it.
database=
[ ! -r /run/openvswitch/ovsdb-server.pid ] || read -r database </run/openvswitch/ovsdb-server.pid
if [ -n "$database" ] && kill -0 "$database" 2>/dev/null; then
  ovs=no
  tables=$(bounded ovs-vsctl -t 5 -f json \
    -- --columns=name,datapath_type,fail_mode,rstp_enable,stp_enable,external_ids,ports,controller list Bridge \
    -- --columns=_uuid,name,interfaces,protected,tag,trunks,vlan_mode,external_ids list Port \
    -- --columns=_uuid,name,type,options,ofport,error list Interface) && ovs=yes &&
    printf '%s\n' "$tables" | sed '1s/^/ovs_bridges /;2s/^/ovs_ports /;3s/^/ovs_interfaces /'
fi
if command -v systemctl >/dev/null 2>&1; then
  units=$(bounded systemctl show --property Id,MainPID,ActiveState,UnitFileState docker.service \
    openvswitch-switch.service firewalld.service nftables.service netfilter-persistent.service \
    iptables.service ufw.service dhcpcd.service "provision-$name-follow.service") ||
    units= # systemd is not the init of this host
fi
iptables_version=
! command -v iptables >/dev/null 2>&1 || iptables_version=$(iptables -V)
if [ -n "$iptables_version" ] && iptables_rules=$(iptables-save); then
  forward=$(printf '%s\n' "$iptables_rules" |
    sed -n '/^\*filter$/,/^COMMIT$/{/^:FORWARD \|^-A FORWARD .*-j DOCKER-USER$/p;}')
  # nf_tables has no chain until the first rule, and passes everything then.
  forward=${forward:-:FORWARD ACCEPT}
fi
# Interfaces that forward although the host does not, or the other way round. One digit: `read` reads
# byte by byte, and a file of /proc/sys ends after the first read.
forwards=; read -r forwards </proc/sys/net/ipv4/ip_forward || :
differing=$(grep -vxF "$forwards" /proc/sys/net/ipv4/conf/*/forwarding)
[ -z "$differing" ] ||
  printf '%s\n' "$differing" | sed 's|.*/\(.*\)/forwarding:|interface \1 |'
for ctl in /etc/provision/"$name"/etcdctl-*; do
  [ -x "$ctl" ] || continue
  # An etcd of the user holds keys of others: its etcdctl names the prefixes of ours.
  prefixes=$(sed -n 's/^# prefixes: //p' "$ctl")
  for prefix in ${prefixes:-/}; do
    answer=$(bounded "$ctl" --command-timeout=3s get --prefix "$prefix" -w json 2>/dev/null) ||
      answer=down
    printf 'etcd %s %s\n' "${ctl##*/etcdctl-}" "$answer"
    [ "$answer" != down ] || continue 2
  done
  [ -z "$prefixes" ] || continue
  answer=$(bounded "$ctl" --command-timeout=3s member list -w json 2>/dev/null) || continue
  printf 'etcd_members %s %s\n' "${ctl##*/etcdctl-}" "$answer"
done
:
