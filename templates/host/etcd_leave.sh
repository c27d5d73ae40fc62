# Takes the vote of this host's member of an etcd cluster, if the cluster answers: a rollback deletes
# its data, and a voting member without data could cost the others their majority.
# Arguments: etcdctl command; the name of the member; its URL for other members.
# A learner, which has no vote, stays in its place: when a member of an older minor version leaves,
# etcd raises the version of the cluster to that of the others, and the older one could never join
# again (seen with 3.4 among 3.5; etcd decides no version while it cannot ask every member).

ctl=$1 name=$2 url=$3 end=$(($(date +%s) + 20))
add() { "$ctl" --command-timeout=5s member add "$name" --learner --peer-urls="$url"; }
# etcd refuses until its members have been connected to each other for 5 s.
while [ "$(date +%s)" -lt "$end" ] && members=$("$ctl" --command-timeout=5s member list); do
  entry=$(echo "$members" | grep -F ", $url, ")
  case $entry in '' | *', true') break ;; esac
  if "$ctl" --command-timeout=5s member remove "${entry%%,*}"; then add || { sleep 1; add; }; fi ||
    sleep 1
done
:
