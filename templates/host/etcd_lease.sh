# Writes the key that gives this host its subnet, and removes other keys with the host's address.
# Arguments: etcdctl command; subnet key and its value; our own key and its value; the host's
# address; flannel's backend type (empty: udp).
# Prelude: host/etcd_wait.sh
# A key that flannel has written with the same address and backend stays: it holds the MAC of the
# host's device, which the other hosts need. flannel would take a second key with our address.

ctl=$1 subnet_key=$2 value=$3 own_key=$4 own_value=$5 address=$6 backend=$7
wait_for_etcd
"$ctl" put -- "$own_key" "$own_value" || exit
kept=
for key in $("$ctl" get --prefix --keys-only -- "${subnet_key%/*}/"); do
  lease=$("$ctl" get --print-value-only -- "$key") || exit
  case $lease in *"\"PublicIP\":\"$address\""*) same_address=yes ;; *) same_address= ;; esac
  type=${lease#*\"BackendType\":\"}
  [ "$type" = "$lease" ] && type= || type=${type%%\"*}
  if [ "$key" = "$subnet_key" ]; then
    [ -z "$same_address" ] || [ "$type" != "$backend" ] || kept=yes
  elif [ -n "$same_address" ]; then
    "$ctl" del -- "$key" || exit
  fi
done
[ -n "$kept" ] || "$ctl" put -- "$subnet_key" "$value"
