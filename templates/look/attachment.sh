# Kind `attachment`: the claims of this inventory, and the interfaces of the containers they name, and
# of those that have an interface with our mark without a claim.
# Prelude: look/need.sh look/bounded.sh look/prelude.sh
# Variables: name answers

need ip
entered=' '
enter() { # CONTAINER PROCESS
  [ "$entered" != ' ' ] || {
    ip -N -j -d link show | sed 's/^/links /'
    ! command -v bridge >/dev/null 2>&1 || bridge -j vlan show | tr -d '\n' | sed 's/^/vlans /'
    echo
    shared ovs_bridges ovs_ports ovs_interfaces
  }
  entered="$entered$1 "
  [ -n "$2" ] || return 0
  # `ip -batch` has one family for rules: those of IPv6 take a process of their own.
  nsenter -t "$2" -n sh -c 'printf "address show\nroute show table all\nrule show\n" |
    ip -N -j -d -force -batch -; ip -6 -N -j rule show' 2>/dev/null |
    sed "1s/^/inside $1 /;2s/^/routes $1 /;3,4s/^/rules $1 /"
}
for claim in /etc/provision/"$name"/attachments/*/*; do
  [ -f "$claim" ] || continue
  interface=${claim##*/} container=${claim#*/attachments/} container=${container%/*}
  echo "claim $container $interface $(cat "$claim")"
  case $entered in *" $container "*) continue ;; esac
  enter "$container" "$(printf '%s\n' "$answers" | while read -r key running pid _; do
    [ "$key $running" != "lives $container" ] || echo "$pid"
  done)"
done
case $answers in *"
extra "*) extra=$(printf '%s\n' "$answers" | sed -n 's/^extra \([0-9]*\)$/\1/p') ;; *) extra= ;; esac
for pid in $extra; do
  container=$(printf '%s\n' "$answers" | sed -n "s/^lives \([^ ]*\) $pid\$/\1/p")
  case "$entered" in *" $container "*) continue ;; esac
  ! nsenter -t "$pid" -n ip -o link show 2>/dev/null |
    grep -q -F "alias provision:$name/$container/" || enter "$container" "$pid"
done
