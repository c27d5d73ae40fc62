# The host itself: tools, versions, privileges and addresses, as `KEY VALUE` lines.
# Prelude: look/need.sh look/bounded.sh look/prelude.sh
# Variables: name tools
# $tools are the commands to look for, separated by spaces.

[ -d /run/systemd/system ] && echo systemd yes || echo systemd no
echo "uid $(id -u)"
for tool in $tools; do
  if command -v "$tool" >/dev/null 2>&1; then echo "tool $tool"; fi
done
for manager in apt-get dnf yum zypper pacman apk; do
  if command -v "$manager" >/dev/null 2>&1; then echo "manager $manager"; break; fi
done
if ! command -v docker >/dev/null 2>&1 && command -v apt-cache >/dev/null 2>&1; then
  apt-cache policy docker.io | sed -n 's/^ *Candidate: \([0-9]\)/candidate \1/p'
fi
echo "machine $(uname -m)"
[ -n "$docker" ] || echo "docker-error $docker_error"
# sudo removes SSH_CONNECTION from our environment, but its own process still has it.
ssh=${SSH_CONNECTION:-$(tr '\0' '\n' <"/proc/$PPID/environ" 2>/dev/null |
  sed -n 's/^SSH_CONNECTION=//p')}
echo "ssh $ssh"
for path in /var/lib/provision/txn /var/lib/provision/reverting.* /var/lib/provision/guard-*; do
  [ ! -e "$path" ] || echo "guard ${path##*/}"
done
origin=/var/lib/provision/origins/$name
[ ! -f "$origin" ] || [ -h "$origin" ] || echo "origin $(head -c 8192 "$origin" | tr '\n' ' ')"
# Names that this inventory gives, of files without its mark: another inventory's may be the same,
# as the names of inventories and of bridges are joined by `-`.
for file in /etc/systemd/network/05-provision-"$name"-* /etc/netplan/90-provision-"$name"-* \
  /etc/NetworkManager/system-connections/provision-"$name"-*; do
  [ -e "$file" ] || [ -h "$file" ] || continue
  line=; [ ! -f "$file" ] || [ -h "$file" ] || read -r line <"$file"
  [ "$line" = "# provision:$name" ] || echo "foreign $file"
done
for folder in /etc/provision /etc/provision/"$name" /var/lib/provision /var/lib/provision/was \
  /var/lib/provision/was/"$name"; do
  [ ! -h "$folder" ] && { [ -d "$folder" ] || [ ! -e "$folder" ]; } || echo "blocked $folder"
done
shared docker_info networks addresses routes ways way rules ovs_bridges ovs_ports ovs_interfaces
