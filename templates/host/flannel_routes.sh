# Removes the routes of people in the place of flanneld's routes, which have the metric 0: flanneld adds a
# route that is missing, but does not always replace one. They are kept in a file for a rollback.
# Arguments: the file, then the destinations.
# Routes with a mark, and those of programs, have other protocols than `boot` (3) and `static` (4).

file=$1; shift
mkdir -p "${file%/*}" && : >"$file" || exit
for destination; do
  ip -4 -N -o route show table main exact "$destination" | while read -r route; do
    # `ip` prints neither the protocol `boot` nor the metric 0.
    protocol=3
    case " $route " in *' metric '*) continue ;; esac
    case " $route " in *' proto '*) protocol=${route#* proto } protocol=${protocol%% *} ;; esac
    case $protocol in 3 | 4) ;; *) continue ;; esac
    printf '%s\n' "$route" | sed 's/ *\\[[:space:]]*/ /g;s/ linkdown\b//g;s/ dead\b//g' >>"$file" &&
      ip -4 route del "$destination" table main proto "$protocol" metric 0 || exit
  done || exit
done
