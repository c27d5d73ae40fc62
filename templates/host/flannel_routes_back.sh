# Puts back the routes of people that flannel_routes.sh has removed, where it has.
# Arguments: the file.

[ -f "$1" ] || exit 0
while read -r route; do
  # `ip -N` has printed the number of a type: linux/rtnetlink.h, RTN_BLACKHOLE and those after it.
  case $route in
  '6 '*) route="blackhole ${route#* }" ;;
  '7 '*) route="unreachable ${route#* }" ;;
  '8 '*) route="prohibit ${route#* }" ;;
  '9 '*) route="throw ${route#* }" ;;
  esac
  # shellcheck disable=SC2086 # words for `ip`
  ip -4 route replace table main $route || exit
done <"$1"
rm -f -- "$1"
