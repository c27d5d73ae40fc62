# wait_for_etcd waits up to 60 s until the etcd that $ctl (the network's etcdctl command) asks has a
# majority and answers, else it exits with status 1.
# Variables: ctl
# Defines: wait_for_etcd

wait_for_etcd() {
  end=$(($(date +%s) + 60))
  until "$ctl" --command-timeout=3s get /provision/ready >/dev/null 2>&1; do
    [ "$(date +%s)" -lt "$end" ] || {
      "$ctl" --command-timeout=3s get / 2>&1 | tail -n 3
      echo "etcd does not answer: do most of its members run, and let this host in (no --limit)?"
      exit 1
    }
    sleep 1
  done
}
