# Tells systemd-networkd of the ranges of a link.
# Defines: renew_ranges
# Version 257 tells the kernel's routes apart by destination, metric and source address, not by the
# link. While addresses move from one link to another, it takes the routes of the new link for those of
# the old one, and forgets them with these. From then on it waits for ever before it makes a static
# route by a gateway in the range ("configuring"). So the kernel tells of each range once more. A
# copy with a metric of its own stands in meanwhile: no packet finds no route.

renew_ranges() { # link
  systemctl -q is-active systemd-networkd || return 0
  ip -N -4 route show table main dev "$1" proto 2 2>/dev/null | sed 's/ linkdown//;s/ dead//;s/ *$//' |
    while read -r range rest; do
      metric=0
      case "$rest " in *'metric '*)
        metric=${rest##*metric } metric=${metric%% *}
        rest="${rest%%metric *}${rest#*metric "$metric"}"
      esac
      route="$range dev $1 proto 2 $rest"
      printf 'route %s metric %s\n' "replace $route" 4278198271 "delete $route" "$metric" \
        "add $route" "$metric" "delete $route" 4278198271
    done | ip -4 -force -batch - 2>/dev/null || :
}
