# Kind `flannel`: the claims of all inventories, the devices of all flannels with their neighbours and
# FDB entries, and for networks of this inventory the settings that flanneld has written, and digests
# of those in etcd: which it found when it started, which it should have, and their key.
# Prelude: look/need.sh look/bounded.sh look/prelude.sh
# Variables: name

for claim in /etc/provision/*/flannel/*; do
  [ -f "$claim" ] || continue
  owner=${claim%/flannel/*}; echo "claim ${owner##*/} ${claim##*/} $(cat "$claim")"
done
for device in /sys/class/net/flannel*; do
  [ -e "$device" ] || continue
  device=${device##*/}
  echo "device $device"
  ip -4 neighbour show dev "$device" nud permanent | sed "s/^/neighbour $device /"
  bridge fdb show dev "$device" | sed "s/^/forward $device /"
done
# flanneld writes this file in a folder that only this network has.
for file in /var/lib/provision-flannel/"$name"/*/subnet.env; do
  [ -f "$file" ] || continue
  network=${file%/subnet.env}
  settings=$(grep -o -E '^FLANNEL_(NETWORK|IPMASQ)=[0-9a-z./]*' "$file" | tr '\n' ' ')
  echo "settings ${network##*/} $settings"
  [ ! -f "$network/config" ] || echo "started ${network##*/} $(cat "$network/config")"
done
shared addresses routes etcd
