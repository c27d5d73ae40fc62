# Installs packages by apt-get. Arguments: the command that they are for, the package that newer
# releases have the command in (or nothing), packages.
# It waits 300 s in total for the locks of dpkg and apt: unattended-upgrades may hold the one of dpkg
# for minutes, and apt-daily the one of the lists on a machine that has just booted.
# DPkg::Lock::Timeout is for dpkg's lock alone: at those of the lists and of the archives apt gives up
# at once (seen with apt 2.6).
# --force-confold keeps files that the administrator has changed: without a terminal, the question
# about them would fail.

export DEBIAN_FRONTEND=noninteractive
uptime_s() { read -r uptime _ </proc/uptime; echo "${uptime%.*}"; }
deadline=$(($(uptime_s) + 300))
run_apt() {
  while :; do
    left=$((deadline - $(uptime_s))); [ "$left" -gt 0 ] || left=0
    output=$(apt-get -q -o DPkg::Lock::Timeout="$left" "$@" 2>&1); status=$?
    case $status$output in 0*) break ;; *'Could not get lock '*) ;; *) break ;; esac
    [ "$left" -gt 0 ] || break
    sleep 2
  done
  printf '%s\n' "$output"
  return "$status"
}
get() { run_apt -y -o Dpkg::Options::=--force-confold --no-install-recommends install "$@"; }
tool=$1 later=$2; shift 2
# Debian's FRR starts a zebra, of which the kernel's routes need only one. A mask keeps it from that.
if [ "$tool" = vtysh ]; then
  trap 'systemctl -q unmask --runtime frr.service' EXIT
  systemctl -q mask --runtime frr.service
fi
get "$@" || { run_apt update && get "$@"; } || exit
[ -z "$later" ] || command -v "$tool" >/dev/null || get "$later"
# Debian starts an etcd that anybody on the host may write to; nobody has asked for that one.
[ "$tool" != etcd ] || systemctl -q disable --now etcd.service
if [ "$tool" = vtysh ]; then
  systemctl -q unmask --runtime frr.service && systemctl -q disable frr.service
fi
