# Kind `sysctl`: values of settings and their first values, as `KEY VALUE` lines.
# Prelude: look/need.sh look/bounded.sh look/prelude.sh
# Variables: keys

# shellcheck disable=SC2154 # the kind sets $keys
for key in $keys; do
  echo "now $key $(cat "/proc/sys/$(echo "$key" | tr . /)")"
  for record in /var/lib/provision/was/*/sysctl/"$key"; do
    [ -f "$record" ] || continue
    owner=${record%/sysctl/*}; echo "was $key ${owner##*/} $(cat "$record")"
  done
  for script in /etc/provision/*/volatile.sh; do
    [ ! -f "$script" ] || sed -n "s/^sysctl -q -w $key=\([^ ]*\)$/kept $key \1/p" "$script"
  done
done
grep -vxF "$(cat /proc/sys/net/ipv4/ip_forward)" /proc/sys/net/ipv4/conf/*/forwarding |
  sed 's|.*/\(.*\)/forwarding:|interface \1 |'
for record in /var/lib/provision/was/*/sysctl/net.ipv4.conf.*; do
  [ -f "$record" ] || continue
  owner=${record%/sysctl/*}; echo "was ${record##*/} ${owner##*/} $(cat "$record")"
done
