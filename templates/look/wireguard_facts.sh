# Prints what a host needs for WireGuard, and the public keys that it knows; never a secret key.
# Prelude: look/need.sh look/prelude.sh
# Variables: name
# `kernel yes`, `tun yes`; `key NETWORK PUBLIC-KEY` of its own keys; `secret NETWORK FINGERPRINT` of its
# preshared keys; `file MODE BASE64 PATH` of the tables of peers; `port DEV<tab>PORT` and
# `running DEV<tab>PUBLIC-KEY` of each device.

# `modprobe -n` also succeeds for a driver that is built into the kernel.
if [ -e /sys/module/wireguard ] || modprobe -nq wireguard 2>/dev/null; then echo 'kernel yes'; fi
[ ! -c /dev/net/tun ] || echo 'tun yes'
for key in /etc/provision/"$name"/wireguard/*.key; do
  [ -s "$key" ] && [ ! -h "$key" ] || continue
  public=$(wg pubkey <"$key" 2>/dev/null) || continue
  network=${key##*/}; echo "key ${network%.key} $public"
done
for file in /etc/provision/"$name"/wireguard/*.psk; do
  [ -f "$file" ] && [ ! -h "$file" ] || continue
  network=${file##*/}; sed -n "1s/^# \([0-9a-f]*\)\$/secret ${network%.psk} \1/p" "$file"
done
files /etc/provision/"$name"/wireguard/*.conf | sed 's/^/file /'
wg show all listen-port 2>/dev/null | sed 's/^/port /'
wg show all public-key 2>/dev/null | sed 's/^/running /'
:
