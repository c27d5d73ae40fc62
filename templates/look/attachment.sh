# Kind `attachment`: the claims of this inventory, and the interfaces of the containers they name.
# Prelude: look/need.sh look/bounded.sh look/prelude.sh
# Variables: name answers

need ip
entered=' '
for claim in /etc/provision/"$name"/attachments/*/*; do
  [ -f "$claim" ] || continue
  interface=${claim##*/} container=${claim#*/attachments/} container=${container%/*}
  echo "claim $container $interface $(cat "$claim")"
  case $entered in *" $container "*) continue ;; esac
  [ "$entered" != ' ' ] || {
    ip -N -j -d link show | sed 's/^/links /'
    ! command -v bridge >/dev/null 2>&1 || bridge -j vlan show | tr -d '\n' | sed 's/^/vlans /'
    echo
    shared ovs_bridges ovs_ports ovs_interfaces
  }
  entered="$entered$container "
  pid=$(printf '%s\n' "$answers" | while read -r key running pid _; do
    [ "$key $running" != "lives $container" ] || echo "$pid"
  done)
  [ -n "$pid" ] || continue
  # `ip -batch` has one family for rules: those of IPv6 take a process of their own.
  nsenter -t "$pid" -n sh -c 'printf "address show\nroute show table all\nrule show\n" |
    ip -N -j -d -force -batch -; ip -6 -N -j rule show' 2>/dev/null |
    sed "1s/^/inside $container /;2s/^/routes $container /;3,4s/^/rules $container /"
done
