# Keeps the files of ufw, or of a zone of firewalld, as they were before the first rule of provision,
# and restores them after the last one. Both programs write whole files for each rule: firewalld
# copies a zone from /usr/lib to /etc and keeps a backup, and neither keeps comments of a person.
# Variables: claim tool zone
# Defines: choose_files keep_files restore_files
# The program that follows defines add_rule, remove_rule and rule_is_there. They and keep_files get
# the arguments of the rule.

choose_files() {
  record=/var/lib/provision/firewall/$tool
  case $tool in
  ufw) folder=/etc/ufw main=user.rules more=user6.rules ;;
  *) record=$record-$zone folder=/etc/firewalld/zones main=$zone.xml more=$zone.xml.old ;;
  esac
}
# Of a symbolic link its file is copied, which both programs write, and the link stays.
copy_files() { # target folder
  rm -rf -- "$1" "$1.new" && mkdir -p -- "$1.new" || return
  for file in "$main" "$more"; do
    [ ! -f "$folder/$file" ] || cp -aL -- "$folder/$file" "$1.new/" || return
  done
  mv -T -- "$1.new" "$1"
}
has_other_claims() {
  # A rule of ours may have lost its claim.
  [ "$tool" != ufw ] || ! grep -qs '^### tuple .* comment=70726f766973696f6e3a' "$folder/$main" || return 0
  for other in /etc/provision/*/firewall/*; do
    [ -f "$other" ] && [ "$other" != "$claim" ] || continue
    case $(head -n 1 "$other") in "$tool $zone "*) return 0 ;; esac
  done
  return 1
}
# Adding and removing the rule once shows the form in which the firewall itself writes the files. If
# they have it after the last rule is removed, nobody else has changed them.
keep_files() {
  if [ -d "$record" ] || has_other_claims || rule_is_there "$@"; then return 0; fi
  (
    umask 077
    rm -rf -- "$record.new" && mkdir -p -- "$record.new" && copy_files "$record.new/before" &&
      add_rule "$@" && remove_rule "$@" && copy_files "$record.new/written" &&
      mv -T -- "$record.new" "$record"
  )
}
same_file() {
  [ -f "$1" ] || { [ ! -e "$2" ]; return; }
  [ -f "$2" ] && [ "$(cat -- "$1"; echo .)" = "$(cat -- "$2"; echo .)" ]
}
is_unchanged() {
  same_file "$record/written/$main" "$folder/$main" || return
  # The backup of firewalld is of the rule that was removed last.
  [ "$tool" != ufw ] || same_file "$record/written/$more" "$folder/$more"
}
# `written` is missing where keep_files was interrupted.
restore_files() {
  ! has_other_claims || return 0
  [ -d "$record" ] || [ ! -d "$record.new/before" ] || mv -T -- "$record.new" "$record" || return
  [ -d "$record/before" ] || return 0
  if [ ! -d "$record/written" ] || is_unchanged; then
    for file in "$main" "$more"; do
      # Earlier versions have kept the link itself: nothing tells what its file was.
      [ ! -h "$record/before/$file" ] || continue
      target=$(readlink -f -- "$folder/$file") || return
      new=${target%/*}/.${target##*/}.provision-new
      if [ -f "$record/before/$file" ]; then
        cp -a -- "$record/before/$file" "$new" && mv -fT -- "$new" "$target" || return
      else
        rm -f -- "$target" || return
      fi
    done
  fi
  rm -rf -- "$record" "$record.new" && rmdir -p --ignore-fail-on-non-empty -- "${record%/*}"
}
