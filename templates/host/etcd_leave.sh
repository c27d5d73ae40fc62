# Removes this host's member from its etcd cluster, if the cluster answers: a rollback deletes its
# data, and a voting member without data could cost the others their majority.
# Arguments: etcdctl command; the URL of the member for other members.

ctl=$1 url=$2 end=$(($(date +%s) + 20))
# etcd refuses until its members have been connected to each other for 5 s.
while [ "$(date +%s)" -lt "$end" ] && members=$("$ctl" --command-timeout=5s member list); do
  id=$(echo "$members" | sed -n "s|^\([0-9a-f]*\), [a-z]*, [^,]*, $url, .*|\1|p")
  [ -n "$id" ] || break
  "$ctl" --command-timeout=5s member remove "$id" || sleep 1
done
:
