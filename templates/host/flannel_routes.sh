# Removes the routes of people in the place of flanneld's routes: flanneld adds a route that is
# missing, but does not always replace one.
# Arguments: the destinations.
# Routes with a mark, and those of programs, have other protocols than `boot` (3) and `static` (4).

for destination; do
  ip -4 -N -o route show table main exact "$destination" | while read -r route; do
    # `ip` prints neither the protocol `boot` nor the metric 0.
    protocol=3 metric=0
    case " $route " in *' proto '*) protocol=${route#* proto } protocol=${protocol%% *} ;; esac
    case " $route " in *' metric '*) metric=${route#* metric } metric=${metric%% *} ;; esac
    case $protocol in
    3 | 4) ip -4 route del "$destination" table main proto "$protocol" metric "$metric" || exit ;;
    esac
  done || exit
done
