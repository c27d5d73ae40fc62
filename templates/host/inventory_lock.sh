# take_lock PATH SECONDS takes the lock of an inventory on descriptor 9, so that no follower restores
# what a change removes. After SECONDS it names the processes that hold the file, and ends the script
# with status 75. Whoever can open the file can hold its lock: only root may. Below /run only root
# makes files, but version 0.1.0 made this one readable for all.
# Prelude: host/lock_holders.sh
# Defines: take_lock

take_lock() {
  if [ -h "$1" ] || { [ -e "$1" ] && [ ! -f "$1" ]; }; then
    rm -f -- "$1"
  elif [ -e "$1" ] && [ "$(stat -c '%a %u' -- "$1")" != "600 $(id -u)" ]; then
    # A follower of that version ends in seconds; others may hold the file for ever.
    chmod 600 -- "$1"; flock -w 5 -- "$1" true; rm -f -- "$1"
  fi
  (umask 077 && : >>"$1") || exit 75
  exec 9>>"$1"
  flock -w "$2" 9 && return
  echo "$1 is held by$(exec 9>&-; holders "$1")"
  exit 75
}
