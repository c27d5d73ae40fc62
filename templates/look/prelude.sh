# What every probe of a kind (`Resource.probe`) and the probe of the host may use.
# Prelude: look/need.sh look/bounded.sh
# Variables: name peers
# Defines: docker docker_error docker_tables ovs forward exists need_docker need_ovs need_rules flows shared files
# The gather script sets before this: $name, the inventory's name, and $peers, the addresses of the
# other hosts. look/shared.sh sets, before the first probe runs: $docker (yes: it answers; cut: it
# printed too much; empty: it does not answer, and $docker_error says why), $answers (what Docker
# printed), $docker_tables (intact or flushed; empty: Docker has another backend than nftables), $ovs (yes:
# it answers; no: it runs without an answer; empty: it does not run), and
# $units (of `systemctl show`), $iptables_version, $iptables_rules (of `iptables-save`) and $forward (of
# these, the policy of FORWARD and its jumps to DOCKER-USER).
# need_docker ends a section with `@absent` where Docker does not answer. A probe that cannot be
# read is an error instead, so that an unreadable state never counts as an empty one.
# need_ovs ends a section without output where Open vSwitch does not run.
# need_rules ends a section with `@absent` where iptables is missing.
# flows SOCKET… prints, for each bridge of Open vSwitch by its socket, `flows BRIDGE`, and for each of its flows
# that takes all packets `flow BRIDGE` with priority and actions, and for each port that does not take, send or
# flood packets `mute BRIDGE PORT` with its flags; nothing where ovs-vswitchd does not answer.
# exists PATH… is true if there is one of them: a pattern that nothing matches stands for itself.
# shared KEY… stands for the lines of these keys that look/shared.sh printed.
# files PATH… prints mode, content in base64 (1 MiB at most) and path of each regular file.

docker='' docker_error='docker is not installed' docker_tables='' ovs='' forward=''
exists() {
  for path in "$@"; do [ ! -e "$path" ] && [ ! -h "$path" ] || return 0; done
  return 1
}
need_docker() {
  [ "$docker" != cut ] || { echo 'Docker printed more than 8 MiB about its state' >&2; exit 1; }
  [ -n "$docker" ] || { echo @absent; exit 0; }
}
need_ovs() {
  [ -n "$ovs" ] || exit 0
  [ "$ovs" = yes ] || { echo 'Open vSwitch does not answer' >&2; exit 1; }
}
need_rules() {
  need iptables
  [ -n "$forward" ] || { echo 'iptables-save failed' >&2; exit 1; }
}
flows() {
  for socket in "$@"; do
    [ -S "$socket" ] || continue
    bridge=${socket##*/} bridge=${bridge%.mgmt}
    # A controller may have made many flows: only those for all packets are kept.
    printed=$({ ovs-ofctl -t 5 -O OpenFlow10,OpenFlow13,OpenFlow14,OpenFlow15 --no-stats \
      dump-flows "$bridge" table=0 2>/dev/null || echo failed; } |
      sed -n 's/^ \(cookie=0x[0-9a-f]*, \)\{0,1\}\(reset_counts \)\{0,1\}//
      '"s/^priority=[0-9]* actions=\|^actions=/flow $bridge &/p;/^failed$/p")
    case $printed in *failed) continue ;; esac
    echo "flows $bridge"
    [ -z "$printed" ] || printf '%s\n' "$printed"
    # Only OpenFlow 1.0 has NO_FLOOD; a bridge may have been told to speak other versions alone.
    { ovs-ofctl -t 5 -O OpenFlow10 dump-ports-desc "$bridge" 2>/dev/null ||
      ovs-ofctl -t 5 -O OpenFlow13,OpenFlow14,OpenFlow15 dump-ports-desc "$bridge" 2>/dev/null; } |
      sed -n '/^ [^ (]*(.*): addr:/{s/^ [^(]*(\(.*\)): addr:.*/\1/;h;}
        /^ *config: .*NO_\(RECV\|FWD\|FLOOD\)\( \|$\)/{s/^ *config: *//;H;x;s/\n/ /;'"s/^/mute $bridge /p;}"
  done
}
shared() { for key in "$@"; do echo "@@$key"; done; }
files() {
  # A pattern that no file matches stands for itself.
  [ $# -gt 1 ] || [ -e "$1" ] || return 0
  # One `stat` for all, and `head` for a large file only: each process costs a millisecond.
  stat -c '%a %s %n' -- "$@" 2>/dev/null | while read -r mode size path; do
    [ -f "$path" ] && [ ! -h "$path" ] || continue
    if [ "$size" -le 1048576 ]; then
      text=$(base64 -w0 <"$path")
    else
      text=$(head -c 1048576 "$path" | base64 -w0)
    fi
    printf '%s %s %s\n' "$mode" "$text" "$path" || exit 1
  done
}
