# The host itself: tools, versions, privileges and addresses, as `KEY VALUE` lines.
# Prelude: look/need.sh look/bounded.sh look/prelude.sh
# Variables: name tools packages
# $tools are the commands to look for, separated by spaces. $packages has a line for each that the host
# needs: command, the package that newer releases have it in (or `-`), packages.

[ -d /run/systemd/system ] && echo systemd yes || echo systemd no
echo "uid $(id -u)"
for tool in $tools; do
  if command -v "$tool" >/dev/null 2>&1; then echo "tool $tool"; fi
done
for manager in apt-get dnf yum zypper pacman apk; do
  if command -v "$manager" >/dev/null 2>&1; then echo "manager $manager"; break; fi
done
# apt installs nothing for a command whose packages are installed already.
installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
! command -v dpkg-query >/dev/null 2>&1 || printf '%s' "$packages" | while read -r tool newer names; do
  ! command -v "$tool" >/dev/null 2>&1 || continue
  for package in $names; do installed "$package" || continue 2; done
  [ "$newer" = - ] || installed "$newer" || ! apt-cache show "$newer" >/dev/null 2>&1 || continue
  echo "without $tool $names"
done
if ! command -v docker >/dev/null 2>&1 && command -v apt-cache >/dev/null 2>&1; then
  apt-cache policy docker.io | sed -n 's/^ *Candidate: \([0-9]\)/candidate \1/p'
fi
# Kernels before 6.1 lack the file.
{ read -r machine </proc/sys/kernel/arch; } 2>/dev/null || machine=$(uname -m)
echo "machine $machine"
if [ -z "$docker" ]; then
  echo "docker-error $docker_error"
  # What a host needs depends on Docker's version, also while its daemon is stopped.
  ! command -v dockerd >/dev/null 2>&1 ||
    bounded dockerd --version | sed -n 's/^Docker version \([0-9.]*\).*/candidate \1/p'
fi
# sudo removes SSH_CONNECTION from our environment, but its own process still has it.
ssh=${SSH_CONNECTION:-$(tr '\0' '\n' <"/proc/$PPID/environ" 2>/dev/null |
  sed -n 's/^SSH_CONNECTION=//p')}
echo "ssh $ssh"
for path in /var/lib/provision/txn /var/lib/provision/reverting.* /var/lib/provision/guard-*; do
  [ ! -e "$path" ] || echo "guard ${path##*/}"
done
origin=/var/lib/provision/origins/$name
if [ -f "$origin" ] && [ ! -h "$origin" ]; then
  text=$(head -c 8192 "$origin")
  # One line, unless somebody changed the file.
  case $text in *"
"*) text=$(printf '%s' "$text" | tr '\n' ' ') ;; esac
  echo "origin $text"
fi
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
for claim in /etc/provision/"$name"/guests/*; do
  [ ! -f "$claim" ] || echo "guest ${claim##*/}"
done
shared docker_info networks containers addresses routes ways way rules ovs_bridges ovs_ports ovs_interfaces
