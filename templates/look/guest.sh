# The guests that this inventory has claimed on the host, and the state of each.
# Prelude: look/prelude.sh host/docker_id.sh host/guest.sh
# Variables: name
# A claim has the arguments of guest_connect.sh up to the range, and a second line `names` in a
# network with names. Lines: `claim GUEST FIELDS`, `names GUEST PROPOSED NAME...`, and
# `state GUEST ID PID ADDRESS LACKS` (`-` for a field without a value) for one that is there; and
# `lost GUEST NETWORK CONTAINER` for one that we have connected, and whose claim was deleted.

need_docker
need nsenter
for claim in /etc/provision/"$name"/guests/*; do
  [ -f "$claim" ] || continue
  read -r guest_network guest_selector guest_address guest_range guest_text <"$claim" || continue
  guest=${claim##*/}
  echo "claim $guest $guest_network $guest_selector $guest_address $guest_range $guest_text"
  told=$(sed -n 's/^names //p' "$claim")
  [ -z "$told" ] || echo "names $guest $told"
  guest_find && [ -n "$id" ] || continue
  guest_ends || continue
  recorded=
  record=/var/lib/provision/guests/$name/$guest
  [ ! -f "$record" ] || read -r recorded _ <"$record"
  guest_keeps=; [ "$recorded" != "$id" ] || guest_keeps=yes
  lacks=$(guest_lacks)
  [ -z "$joined" ] || [ "$guest_address" = - ] || [ "$fixed" = "$guest_address" ] || lacks=address
  # Its host's DNS server answers from this file, which guest_names.sh writes.
  live=/etc/provision/$name/names/$guest_network.live/$guest
  [ -n "$lacks" ] || [ -z "$told" ] || [ -z "$address" ] ||
    [ "$(sed 1d "$live" 2>/dev/null)" = "$address ${told#* }" ] || lacks=names
  echo "state $guest $id $pid ${address:--} ${lacks:--}"
done
for record in /var/lib/provision/guests/"$name"/*; do
  [ -f "$record" ] && [ ! -e "/etc/provision/$name/guests/${record##*/}" ] || continue
  read -r recorded guest_network <"$record" && [ -n "$guest_network" ] || continue
  container=$(docker inspect --type container --format '{{.Name}}' "$recorded" 2>/dev/null) || container=-
  echo "lost ${record##*/} $guest_network ${container#/}"
done
