# Makes this host a new member of an etcd cluster, in the place of members that have lost their data.
# Arguments: systemd service; its unit file; etcdctl command; all members as NAME=URL, with commas;
# the name and the URL of this one; the URLs of this one and of those that are replaced after it.
# Prelude: host/etcd_wait.sh
# It joins as a learner, which has no vote: if it never starts, the others keep their majority.

service=$1 unit=$2 ctl=$3 cluster=$4 name=$5 url=$6; shift 6
members() { "$ctl" --command-timeout=5s member list; }
id_of() { sed -n "s|^\([0-9a-f]*\), [a-z]*, [^,]*, $1, .*|\1|p"; }
until_works() { # COMMAND…, for at most 40 s
  end=$(($(date +%s) + 40))
  until "$@"; do
    [ "$(date +%s)" -lt "$end" ] || return 1
    sleep 1
  done
}
add() {
  # After an answer that was lost on its way, etcd has the member already.
  members | grep -q ", $url, " ||
    "$ctl" --command-timeout=5s member add "$name" --learner --peer-urls="$url"
}
promote() {
  # etcd refuses while the learner still lacks entries.
  members | grep -q ", $url, .*, false\$" ||
    "$ctl" --command-timeout=5s member promote "$(members | id_of "$url")" 2>/dev/null
}

wait_for_etcd
listed=$(members) || exit
for lost; do
  id=$(echo "$listed" | id_of "$lost")
  [ -z "$id" ] || "$ctl" --command-timeout=5s member remove "$id" || exit
done
# etcd refuses until its members have been connected to each other for 5 s.
until_works add || exit
# A member starts only with the list that the cluster has: without other members that are lost.
listed=$(members) || exit
initial=
for member in $(echo "$cluster" | tr , ' '); do
  [ -z "$(echo "$listed" | id_of "${member#*=}")" ] || initial=$initial${initial:+,}$member
done
# The unit file creates a new cluster, and a flag overrules the environment: the first start has a
# command of its own. Later ones read the list from the data.
drop_in=/run/systemd/system/$service.d
mkdir -p "$drop_in" && {
  printf '[Service]\nExecStart=\n'
  sed -n '/^ExecStart=/,/[^\\]$/p' "$unit" |
    sed -e 's/--initial-cluster-state=new/--initial-cluster-state=existing/' \
      -e "s|--initial-cluster=[^ ]*|--initial-cluster=$initial|"
} >"$drop_in/join.conf" && systemctl daemon-reload || exit
# A member that has not heard of the new one yet answers with its old list, and the start fails.
since=$(date '+%Y-%m-%d %H:%M:%S')
is_too_old() { # prints the reason: an older minor version than that of the cluster never joins
  journalctl -q -o cat --since "$since" -u "$service" | grep -o -m 1 \
    -e 'the running cluster version.* supported' -e 'incompatible with current running cluster'
}
start() { timeout 30 systemctl restart "$service" || is_too_old; }
until_works start
reason=$(is_too_old)
systemctl -q is-active "$service"; started=$?
rm -r -- "$drop_in"; systemctl daemon-reload
[ -z "$reason" ] || {
  echo "etcd on $name is too old to join: $reason; install a newer one, or choose other members" >&2
  exit 1
}
[ "$started" = 0 ] || { systemctl --no-pager --lines 5 status "$service"; exit 1; }
until_works promote
