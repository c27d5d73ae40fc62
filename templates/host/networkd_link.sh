# Asks systemd-networkd's own record of an interface, without a process: the follower asks often.
# Defines: is_taken

is_taken() { # link: true if systemd-networkd has configured it
  read -r index 2>/dev/null <"/sys/class/net/$1/ifindex" || return
  [ -f "/run/systemd/netif/links/$index" ] || return
  while read -r line; do
    case $line in ADMIN_STATE=unmanaged) return 1 ;; NETWORK_FILE=?*) return 0 ;; esac
  done <"/run/systemd/netif/links/$index"
  return 1
}
