# What attach_interface.sh and detach_interface.sh begin with: their arguments, and functions.
# Arguments: container, interface inside, mark, the file by which the namespace of a whole NIC is
# held, the folder of the claims, then the fields of the claim (`Attachment._claim`): kind of
# attachment (bridge, ovs, macvlan or nic), our end outside, its parent (bridge or NIC), MAC, MTU,
# VLAN and the priorities of rules; `-` stands for a field without a value.
# Variables set here: $pid is the container's first process, 0 when it does not run.
# Functions: within COMMAND… runs it in the container's network namespace; alias_of reads the
# interface's alias from `ip -o link` on stdin; held binds the namespace to $hold; home moves a NIC
# out of the namespace at $hold back to the host.
# Defines: within alias_of held home

container=$1 interface=$2 mark=$3 hold=$4 claims=$5; shift 5
way=$1 outer=$2 on=$3 mac=$4 mtu=$5 vlan=$6 priorities=$7; shift 7
now=
said=$(docker inspect --type container --format '{{.State.Pid}}' -- "$container" 2>&1) || {
  case $said in *[Nn]'o such container'*) said=0 ;; *) echo "$said" >&2; exit 1 ;; esac
}
pid=${said##*[!0-9]}
within() { nsenter -t "$pid" -n "$@"; }
alias_of() { sed -n 's/.*alias \(provision:[^ ]*\).*/\1/p' | head -n 1; }
# A virtual NIC would die with its namespace: that is held until the NIC is out of it again.
held() {
  mkdir -p "${hold%/*}" && : >"$hold" &&
  nsenter -t 1 -m mount --bind "/proc/$pid/ns/net" "$hold"
}
home() {
  [ -e "$hold" ] || return 0
  if nsenter --net="$hold" ip link show dev "$interface" >/dev/null 2>&1; then
    nsenter --net="$hold" ip link set dev "$interface" down &&
    nsenter --net="$hold" ip link set dev "$interface" alias '' &&
    { [ "$interface" = "$on" ] ||
      nsenter --net="$hold" ip link set dev "$interface" name "$on"; } &&
    nsenter --net="$hold" ip link set dev "$on" netns 1 || return
    read -r address size <"$hold.was" && ip link set dev "$on" address "$address" mtu "$size"
    ip link set dev "$on" up
  fi
  nsenter -t 1 -m umount "$hold" 2>/dev/null
  rm -f "$hold" "$hold.was"
  rmdir "${hold%/*}" 2>/dev/null || :
}
