# Writes the address that a guest has now, with its names, into a file of the host's DNS server. The
# file of a guest that does not run stays: its name is still answered.
# Prelude: host/docker_id.sh host/guest.sh
# Arguments: network, selector, text, file, service of the DNS server, first line of the file, names

# shellcheck disable=SC2034 # the variables are those of the prelude
guest_network=$1 guest_selector=$2 guest_text=$3 file=$4 service=$5 first=$6
shift 6
guest_find || exit
[ -n "$id" ] || exit 0
address=$(docker inspect --type container --format \
  "{{with index .NetworkSettings.Networks \"$guest_network\"}}{{.IPAddress}}{{end}}" "$id") || exit
# Docker 29 prints an empty address as `invalid IP`.
case $address in '' | *[!0-9.]*) exit 0 ;; esac
lines="$first
$address $*"
# The DNS server has a user of its own, and does not read hidden files. This one stays until the
# server has read the file: where a run was cut off before that, the next one makes up for it.
new=${file%/*}/.${file##*/}.provision-new copy=${file%/*}/.${file##*/}.copy.provision-new
[ "$(cat "$file" 2>/dev/null)" != "$lines" ] || [ -e "$new" ] || exit 0
(umask 022 && mkdir -p "${file%/*}" && printf '%s\n' "$lines" >"$new" && cp "$new" "$copy") &&
  mv -f "$copy" "$file" || exit
if systemctl -q is-active "$service"; then systemctl reload "$service" || exit; fi
rm -f "$new"
