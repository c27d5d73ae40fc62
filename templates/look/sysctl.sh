# Kind `sysctl`: values of settings and their first values, as `KEY VALUE` lines.
# Prelude: look/need.sh look/bounded.sh look/prelude.sh
# Variables: keys
# $keys are paths below /proc/sys, separated by spaces.

# shellcheck disable=SC2154 # the kind sets $keys
for path in $keys; do
  # Each process costs a millisecond, so no `tr`. IFS splits the path, "$*" joins it.
  # shellcheck disable=SC2086 # split on purpose
  key=$(IFS=/; set -f; set -- $path; IFS=.; echo "$*")
  echo "now $key $(cat "/proc/sys/$path")"
  for record in /var/lib/provision/was/*/sysctl/"$key"; do
    [ -f "$record" ] || continue
    owner=${record%/sysctl/*}; echo "was $key ${owner##*/} $(cat "$record")"
  done
  set -- /etc/provision/*/volatile.sh
  [ ! -f "$1" ] || sed -n "s/^sysctl -q -w $key=\([^ ]*\)$/kept $key \1/p" "$@" 2>/dev/null
done
shared interface
for record in /var/lib/provision/was/*/sysctl/net.ipv4.conf.*; do
  [ -f "$record" ] || continue
  owner=${record%/sysctl/*}; echo "was ${record##*/} ${owner##*/} $(cat "$record")"
done
