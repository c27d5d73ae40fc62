# Prints a line for each change that this host has a record of: `record STATE`, then its fields and
# the time, each after a tab; or `unreadable`, where only another login can open the records.

# A folder that nobody lets us open looks empty.
if [ -d /var/lib/provision ] && ! { [ -r /var/lib/provision ] && [ -x /var/lib/provision ]; }; then
  echo unreadable
fi
folders() {
  for change in /var/lib/provision/txn /var/lib/provision/reverting.* \
    /var/lib/provision/reverted.* /var/lib/provision/confirmed.*; do
    [ ! -d "$change" ] || echo "$change"
  done
}
print_record() { # folder of a change
  state=${1##*/}
  printf 'record %s' "${state%%.*}"
  for field in id since deadline ended reason result about log; do
    printf '\t%s' "$(tail -c 2000 "$1/$field" 2>/dev/null | tr '\t\n' '  ')"
  done
  printf '\t%s\n' "$(date +%s)"
}
# A change that ends meanwhile renames its folder: then read all of them again.
for _ in 1 2 3; do
  before=$(folders)
  records=$(for folder in $before; do print_record "$folder"; done)
  [ "$before" != "$(folders)" ] || break
done
printf '%s\n' "$records"
