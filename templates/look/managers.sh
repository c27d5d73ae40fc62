# The files by which ifupdown, netplan and NetworkManager configure the host's NICs, for methods that
# make a NIC a port of a bridge. Files with secrets are not read: only the line of the first one is.
# Prelude: look/need.sh look/bounded.sh look/prelude.sh
# Prints `file BASE64 PATH`, `unread LINE WORD PATH`, and of NetworkManager `profile NIC PATH`,
# `metric NIC NUMBER`, which it gives the NIC's routes by itself, and `setting LINE KEY=VALUE PATH` of
# its own files, where these choose its DHCP client and the identifier that the client sends.

print_file() { # path, extended regular expression of secret lines, whose first word is printed
  [ -f "$1" ] && [ ! -h "$1" ] || return 0
  secret=$(grep -n -m 1 -i -E -e "$2" -- "$1" | sed 's/^\([0-9]*\):[[:space:]]*\([^][:space:]=:]*\).*/\1 \2/')
  if [ -n "$secret" ]; then
    echo "unread ${secret% *} ${secret#* } $1" | tr -d '['
  else
    echo "file $(head -c 1048576 -- "$1" | base64 -w0) $1"
  fi
}
[ ! -f /run/network/ifstate ] || for path in /etc/network/interfaces /etc/network/interfaces.d/*; do
  print_file "$path" '^[[:space:]]*(wpa-(psk|pass|private)|wireless-key|wpa-.*passw|password)'
done
for path in /lib/netplan/*.yaml /etc/netplan/*.yaml /run/netplan/*.yaml; do
  print_file "$path" '^[^#]*(password|psk|client-key)[a-z-]*["'\'']?[[:space:]]*:'
done
[ ! -d /run/NetworkManager/devices ] || for link in /sys/class/net/*; do
  nic=${link##*/}
  read -r index 2>/dev/null <"$link/ifindex" || continue
  [ -f "/run/NetworkManager/devices/$index" ] || continue
  uuid=
  while read -r line; do
    case $line in
    connection-uuid=*) uuid=${line#*=} ;;
    route-metric-default-effective=*) echo "metric $nic ${line#*=}" ;;
    esac
  done <"/run/NetworkManager/devices/$index"
  [ -n "$uuid" ] || continue
  for folder in /etc /run /usr/lib; do
    # The file in /run that keeps a NIC its lease (host/manager_networkmanager.sh) is no profile of its own.
    grep -lxF -e "uuid=$uuid" "$folder"/NetworkManager/system-connections/* 2>/dev/null |
      grep -v '^/run/.*/provision-' | head -n 1 | while IFS= read -r path; do
        echo "profile $nic $path"
        # Any other section may have secrets: 802-1x, pppoe, macsec, vpn, wireguard.
        other=$(sed -n '/^\[\(connection\|ethernet\|802-3-ethernet\|ipv4\|ipv6\|proxy\|user\)\]/d;/^\[/p' \
          "$path" | head -n 1)
        if [ -n "$other" ]; then print_file "$path" "^\\$other"; else print_file "$path" '^\[802-1x\]'; fi
      done
  done
done
# Later files win, and those of one name in /etc.
[ ! -d /run/NetworkManager/devices ] || for path in /usr/lib/NetworkManager/conf.d/*.conf \
  /run/NetworkManager/conf.d/*.conf /etc/NetworkManager/NetworkManager.conf /etc/NetworkManager/conf.d/*.conf; do
  [ ! -f "$path" ] || grep -n -E '^[[:space:]]*(dhcp|ipv4\.dhcp-client-id)[[:space:]]*=' -- "$path" |
    tr -d ' \t' | sed "s|^\([0-9]*\):\(.*\)|setting \1 \2 $path|"
done
:
