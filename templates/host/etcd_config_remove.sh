# Removes flannel's settings from etcd, unless another host of the network still uses them: then they
# are that host's from now on, so that they do not come back to this one with its next lease.
# Arguments: etcdctl command; the prefix of the records of hosts; the keys of the settings and of
# their owner; the keys of hosts that the inventory no longer has.
# A host uses the settings as long as it has a lease and the record of it.

ctl=$1 hosts=$2 settings=$3 owner=$4; shift 4
# If etcd does not answer, its data is deleted with its members, or it belongs to others.
[ -x "$ctl" ] && "$ctl" --command-timeout=3s get /provision/ready >/dev/null 2>&1 || exit 0
records=$("$ctl" get --prefix --keys-only -- "$hosts") || exit
for record in $records; do
  for stale; do [ "$record" != "$stale" ] || continue 2; done
  lease=$("$ctl" get --print-value-only -- "$record") || exit
  case $lease in *'"key": "'*) ;; *) continue ;; esac
  lease=${lease#*\"key\": \"}
  lease=$("$ctl" get --keys-only -- "${lease%%\"*}") || exit
  [ -n "$lease" ] || continue
  value=$("$ctl" get --print-value-only -- "$owner" | sed "s/\"host\": \"[^\"]*\"/\"host\": \"${record##*/}\"/") &&
    [ -n "$value" ] && "$ctl" put -- "$owner" "$value" >/dev/null
  exit
done
# The owner's key comes last: settings without it would count as those of others.
for key in $records "$@" "$settings" "$owner"; do "$ctl" del -- "$key" || exit; done
