# Programs that listen at ports of the networks: `listener PROTOCOL ADDRESS:PORT PROGRAM`.
# Prelude: look/need.sh look/bounded.sh look/prelude.sh
# Variables: name ports
# $ports are the ports, separated by spaces: `udp/4789 tcp/2379`. Sockets of the kernel have no
# program; daemons of this inventory are left out. `ss -p` reads /proc of all processes, so it is
# run only where somebody listens.

filter=''
for port in $ports; do filter="${filter:+$filter or }sport = :${port#*/}"; done
if [ -n "$filter" ] && command -v ss >/dev/null 2>&1 && [ -n "$(ss -Hlntu "$filter")" ]; then
  ss -Hlntup "$filter" | while read -r protocol _ _ _ address _ program; do
    process=${program#*pid=}; process=${process%%[!0-9]*}
    [ -n "$process" ] || continue
    case $(cat "/proc/$process/cgroup" 2>/dev/null) in */provision-"$name"-*) continue ;; esac
    program=${program#*\"}; echo "listener $protocol $address ${program%%\"*}"
  done
fi
