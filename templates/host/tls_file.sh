# Installs a TLS file that was uploaded: readable by root alone.
# Arguments: the uploaded file, the path that it gets, its sha256.
# The upload has a folder of its own, since its folders are for root alone: other files of the
# target's folder are for etcd's user, too. Both may be on different file systems.

source=$1 target=$2 sum=$3 new=${2%/*}/.${2##*/}.provision-new
[ "$(sha256sum <"$source" | cut -c1-64)" = "$sum" ] ||
  { echo "what arrived is not what was sent (sha256)"; rm -f -- "$source"; exit 1; }
(umask 022 && mkdir -p -- "${target%/*}") && rm -f -- "$new" &&
  (umask 077 && cat -- "$source" >"$new") && chmod 600 "$new" && sync "$new" &&
  mv -fT -- "$new" "$target" && rm -f -- "$source" || exit
rmdir -p --ignore-fail-on-non-empty -- "${source%/*}"
