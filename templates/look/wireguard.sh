# Prints the WireGuard devices of provision and the files of this inventory's; never a secret key.
# Prelude: look/need.sh look/prelude.sh
# Variables: name
# `MODE BASE64 PATH` of each file of peers; `link JSON` of each device; `device DEV PUBLIC-KEY PORT`,
# and `peer DEV PUBLIC-KEY psk|open KEEPALIVE ALLOWED` for each of its peers.

files /etc/provision/"$name"/wireguard/*.conf
for path in /sys/class/net/wg-*; do
  [ -e "$path" ] || continue
  dev=${path##*/}
  ip -d -j link show dev "$dev" | sed 's/^/link /'
  command -v wg >/dev/null || continue
  command -v perl >/dev/null || continue
  # The device is there a moment before wireguard-go answers, and when that hangs.
  wg show "$dev" dump 2>/dev/null | dev=$dev perl -F'\t' -lane '
    print "device $ENV{dev} $F[1] $F[2]" if $. == 1;
    print "peer $ENV{dev} $F[0] ", $F[1] eq "(none)" ? "open" : "psk", " $F[7] $F[3]" if $. > 1;'
done
:
