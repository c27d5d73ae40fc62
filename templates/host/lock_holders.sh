# holders FILE names the processes that have a file open, except this one: one of them holds its lock.
# The kernel's own list, /proc/locks, has the process that took a lock, which has ended if that was
# flock(1) on a descriptor of its shell.
# Defines: holders

holders() {
  for descriptor in /proc/[0-9]*/fd/*; do
    [ "$descriptor" -ef "$1" ] || continue
    process=${descriptor#/proc/}; process=${process%%/*}
    [ "$process" = $$ ] || printf ' process %s (%s) of %s' "$process" \
      "$(cat "/proc/$process/comm")" "$(stat -c %U "/proc/$process")"
  done 2>/dev/null
}
