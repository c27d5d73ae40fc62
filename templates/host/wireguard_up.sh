# Brings a network's WireGuard device up, with the key and the peers of its files. Repeatable.
# Arguments: device, service of wireguard-go (empty: the kernel's module), path of the files without
# their endings (.key, .conf, .psk), MTU, alias. An empty MTU: only load the files into a device that runs.
# What is as wanted is left alone: a step that sets it again would wake `ip monitor`, and wireguard-go
# opens its sockets anew for each configuration. Keys pass through pipes and variables only, because
# every user of the host can read arguments.

device=$1 service=$2 files=$3 mtu=$4 alias=$5
link=/sys/class/net/$device
ready() { wg show "$device" public-key >/dev/null 2>&1; }
[ -n "$mtu" ] || { ready && [ -f "$files.conf" ]; } || exit 0
if ! ready; then
  if [ -n "$service" ]; then systemctl start "$service"; else ip link add name "$device" type wireguard; fi ||
    exit
  tries=0
  until ready; do
    tries=$((tries + 1)); [ "$tries" -le 100 ] || { echo "$device does not come up" >&2; exit 1; }
    sleep 0.1
  done
fi
# A key of zeros is none: without a line, `wg syncconf` would leave an earlier key in place.
none=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
preshared() { # of a host
  secret=$none
  if [ -f "$files.psk" ]; then
    while read -r host key; do [ "$host" != "$1" ] || secret=$key; done <"$files.psk"
  fi
  printf 'PresharedKey = %s\n' "$secret"
}
config() {
  peer=
  while IFS= read -r line; do
    printf '%s\n' "$line"
    case $line in
      '[Interface]') printf 'PrivateKey = %s\n' "$(cat "$files.key")" ;;
      '# '*) peer=${line#\# } ;;
      'PublicKey = '*) preshared "$peer" ;;
    esac
  done <"$files.conf"
}
# A peer that moved has another endpoint than its file says: that alone is no difference.
normalized() {
  perl -00 -ne 's/^(AllowedIPs = )(.*)/$1 . join ",", sort split m{, *}, $2/gme;
    push @parts, join " ", sort grep { /^\w+ = / && !/^(Endpoint|PresharedKey = A{43}=|PersistentKeepalive = (0|off)$)/ } split /\n/;
    END { print map { "$_\n" } sort @parts }'
}
if [ "$(config | normalized)" != "$(wg showconf "$device" | normalized)" ]; then
  config | wg syncconf "$device" /dev/stdin || exit
fi
[ -n "$mtu" ] || exit 0
[ "$(cat "$link/mtu")" = "$mtu" ] || ip link set dev "$device" mtu "$mtu" || exit
[ $(($(cat "$link/flags") & 1)) = 1 ] || ip link set dev "$device" up || exit
[ "$(cat "$link/ifalias")" = "$alias" ] || ip link set dev "$device" alias "$alias"
