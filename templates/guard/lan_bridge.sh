# Fingerprint of kind `lan_bridge`: records of NICs, files of their managers, and who has addresses.
# Prelude: look/need.sh guard/fingerprint.sh

for file in /var/lib/provision/was/*/uplink/* /etc/systemd/network/05-provision-* \
  /etc/systemd/network/10-netplan-*.network.d/provision-*; do
  [ ! -f "$file" ] || echo "$file $(sha256sum <"$file")"
done
grep -ls '^# provision:' /etc/netplan/* /etc/NetworkManager/system-connections/* |
  while IFS= read -r file; do echo "$file $(sha256sum <"$file")"; done
# Those of the administrator, also without a block of ours, which a change writes and its rollback removes.
set -- /etc/network/interfaces /etc/network/interfaces.d/* /etc/netplan/*.yaml
stat -L -c '%n %a %u:%g' -- "$@" 2>/dev/null
sha256sum -- "$@" 2>/dev/null
need ip
for bridge in /sys/class/net/*/bridge; do
  name=${bridge%/bridge} recorded=
  for record in /var/lib/provision/was/*/uplink/"${name##*/}"; do [ ! -f "$record" ] || recorded=yes; done
  # A bridge that its manager makes at boot has no alias.
  [ -z "$recorded" ] || { echo "$bridge"; continue; }
  alias=$(cat "${bridge%/*}/ifalias" 2>/dev/null)
  # A bridge of Docker that `apply` made again has the name of its network there, until a reboot.
  case $alias in provision:*/"${name##*/}") echo "$bridge $alias" ;; esac
done
# Without the interfaces of Docker, whose addresses change when containers and networks do.
ip -4 -o address show scope global |
  sed -n 's/^[0-9]*: *\([^ ]*\) *inet \([^ ]*\) .*/\1 \2/p' |
  grep -v -e '^docker0 ' -e '^br-' -e '^veth' | sort
ip -4 route show default | sed 's/ *$//' | sort
