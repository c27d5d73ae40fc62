#!/bin/sh
# Ends a change of this host: by its confirmation, or by its rollback at the deadline, after a
# failure, or after a reboot. A change is one folder, and one rename decides what becomes of it:
#   new.ID → txn (armed) → confirmed.ID, or → reverting.ID → reverted.ID
# Of two processes the one that renames first has decided. Verbs: arm act rearm confirm revert boot.
# Exit status: 2 usage, 3 another change or none, 4 refused, 7 wrong token, 8 busy, 9 not recorded.
#
# Files of a change: id, about, since, deadline, reason, result, ended, log (its record); boot (the
# boot in which it was armed); nonce (the
# token's sha256); lock (the path of the inventory's lock); witness (the fingerprint script),
# origin (the record of the inventory file); before, still (its stdout then and now) and *.err (its
# stderr, a remark only); undo.N, discard.N, out.N and kept.N of its part N; journal
# (the operations that have begun); deleted.HASH and restored.HASH (what a rollback has done of a
# replacement); looked (checked over a new connection); reserve (disk space).
# The script of a part holds the values of containers' variables. It comes on stdin and stays in the
# memory of a shell: no file of the host has it.
PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export PATH LC_ALL
# One environment for every fingerprint and step, whoever starts the guard: a login (pam_env gives it
# /etc/environment), a timer or a boot unit. No DOCKER_HOST or DOCKER_CONTEXT, and a DOCKER_CONFIG
# that does not exist: the docker command asks the daemon of this host, which the snapshots ask, too.
# apt reads its proxy from the last three.
[ "${PROVISION_GUARD:-}" = clean ] ||
  exec env -i PROVISION_GUARD=clean PATH="$PATH" LC_ALL=C HOME=/root \
    DOCKER_CONFIG=/var/lib/provision/no-docker-config ${http_proxy:+"http_proxy=$http_proxy"} \
    ${https_proxy:+"https_proxy=$https_proxy"} ${no_proxy:+"no_proxy=$no_proxy"} \
    /bin/sh "$0" "$@"
umask 077
STATE=/var/lib/provision TXN=/var/lib/provision/txn UNITS=/etc/systemd/system

fail() { status=$1; shift; printf '%s\n' "$*" >&2; exit "$status"; }
id_of() { cat "$1/id" 2>/dev/null; }
move() { mv -T -- "$1" "$2" && sync "$STATE"; } # a decision counts only once it is on the disk
# In a subshell, so that a redirection that fails neither ends this shell nor prints an error.
write() { (printf '%s\n' "$2" >"$1") 2>/dev/null; }

# Only root can open the folder.
lock_state() {
  { exec 8<"$STATE" && flock -w 20 8; } ||
    fail 4 "$STATE is locked; it is held by$(exec 8<&-; holders "$STATE")"
}
unlock_state() { exec 8<&-; }

change_under_way() {
  [ ! -d "$TXN" ] || return 0
  for pending in "$STATE"/reverting.*; do [ ! -d "$pending" ] || return 0; done
  return 1
}

# --- the timer of the deadline ---
timers() { # id
  systemctl list-units --all --plain --no-legend --full "provision-revert-$1-*.timer" |
    while read -r unit _; do echo "$unit"; done
}
set_timer() { # id, seconds, folder; sets $timer, a name that was never used before
  timer=provision-revert-$1-$(date +%s%N) deadline=$(($(date +%s) + $2 + 1))
  # --on-calendar is the deadline: --on-active begins anew whenever systemd reloads its units,
  # whoever asks for that. --on-active covers a clock that is set back. If the guard itself is gone
  # at the deadline, the change has ended. The command holds no dollar sign: systemd 252 would
  # replace it by a value of its own environment.
  systemd-run -q --collect --unit="$timer" --on-calendar="@$deadline" --on-active="$(($2 + 1))" \
    --timer-property=AccuracySec=10ms --timer-property=IgnoreOnIsolate=yes \
    -p Type=oneshot -p TimeoutStartSec=infinity -p OOMScoreAdjust=-1000 \
    -p Restart=on-failure -p RestartSec=1 -p StartLimitIntervalSec=0 \
    /bin/sh -c "[ ! -e $0 ] || exec /bin/sh $0 revert $1 deadline" 7<&- 8<&- &&
    systemctl -q is-active "$timer.timer" || return
  write "$3/deadline" "$deadline" || :
}
stop_timers() { # id, the name of a timer that stays
  for unit in $(timers "$1"); do
    [ "$unit" = "${2:-}.timer" ] || systemctl stop "$unit" 2>/dev/null
  done
}

# --- after a reboot: files before the network starts, the rest once the managers run ---
write_boot_unit() { # name, stage, dependencies
  cat >"$UNITS/.$1.provision-new" <<EOF &&
[Unit]
Description=provision: undo a change that was not confirmed before the reboot ($2)
$3
[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart=/bin/sh $0 boot $2
EOF
  sync "$UNITS/.$1.provision-new" && mv -fT "$UNITS/.$1.provision-new" "$UNITS/$1"
}
EARLY="DefaultDependencies=no
RequiresMountsFor=/var/lib/provision /etc
After=systemd-remount-fs.service
Before=network-pre.target systemd-networkd.service ssh.service docker.service shutdown.target
Conflicts=shutdown.target"
LATE="After=network.target docker.service openvswitch-switch.service etcd.service
RequiresMountsFor=/var/lib/provision /etc"
enable_boot_units() {
  mkdir -p "$UNITS/sysinit.target.wants" "$UNITS/multi-user.target.wants" &&
    write_boot_unit provision-boot-early.service early "$EARLY" &&
    write_boot_unit provision-boot-late.service late "$LATE" &&
    ln -sf ../provision-boot-early.service "$UNITS/sysinit.target.wants/" &&
    ln -sf ../provision-boot-late.service "$UNITS/multi-user.target.wants/" &&
    sync "$UNITS" "$UNITS/sysinit.target.wants" "$UNITS/multi-user.target.wants"
}
disable_boot_units() { # they stay as long as any change is under way
  change_under_way && return
  rm -f "$UNITS"/sysinit.target.wants/provision-boot-early.service \
    "$UNITS"/multi-user.target.wants/provision-boot-late.service \
    "$UNITS"/provision-boot-early.service "$UNITS"/provision-boot-late.service
  rmdir --ignore-fail-on-non-empty "$UNITS"/sysinit.target.wants 2>/dev/null
}

# The late unit waits for Docker, and then rolls back. A controller that asks for the rollback
# meanwhile leaves it to the unit: without Docker it would come to no good end. The controller's
# request holds no lock while it waits, and not for ever, as dockerd may hang.
boot_undo_is_due() {
  systemctl show -p Job -p ActiveState provision-boot-late.service 2>/dev/null |
    grep -q -e '^Job=[1-9]' -e '^ActiveState=activating'
}
await_boot_undo() {
  tries=0
  while [ $tries -lt 180 ] && boot_undo_is_due; do tries=$((tries + 1)); sleep 1; done
}

# --- the record of a change that has ended ---
keep_record() { # folder; every other file of the change goes
  for file in "$1"/*; do
    case ${file##*/} in
    id | about | since | deadline | reason | result | ended | log) ;;
    *) rm -rf "$file" ;;
    esac
  done
}
remove_inventory_lock() { # folder; the follower's lock goes with the last file of its inventory
  lock=$(cat "$1/lock" 2>/dev/null) || return
  inventory=${lock#/run/provision-}
  [ -d "/etc/provision/${inventory%.lock}" ] || rm -f "$lock"
}
keep_origin() { # folder; which file this inventory was applied from; an empty one: nothing is left
  [ -e "$1/origin" ] && lock=$(cat "$1/lock" 2>/dev/null) || return
  name=${lock#/run/provision-} name=${name%.lock}
  if [ -s "$1/origin" ]; then
    mkdir -p "$STATE/origins" && mv -fT "$1/origin" "$STATE/origins/$name"
    sync "$STATE/origins" "$STATE"
  else
    rm -f "$1/origin" "$STATE/origins/$name"
    rmdir "$STATE/origins" 2>/dev/null
  fi
}
drop_stash() { # folder; a part that fails stays, and is tried again at the next change
  for part in "$1"/discard.*; do
    [ ! -f "$part" ] || { timeout 300 /bin/sh "$part" 8<&- >>"$1/log" 2>&1 && rm -f "$part"; }
  done
}
remove_guard() { # from a host that holds nothing of ours
  [ ! -e /etc/provision ] && [ ! -e "$STATE/was" ] && [ ! -e "$STATE/origins" ] &&
    ! change_under_way || return
  rm -rf "$STATE"/confirmed.* "$STATE"/reverted.* "$STATE"/guard-*
  rmdir "$STATE" 2>/dev/null
  systemctl daemon-reload # it may have loaded the boot units, if others reloaded meanwhile
}
finish() { # folder of a confirmed change
  keep_origin "$1"
  drop_stash "$1"
  for part in "$1"/discard.*; do [ ! -f "$part" ] || return; done
  remove_inventory_lock "$1"
  disable_boot_units
  keep_record "$1"
  remove_guard
}
remove_earlier() {
  for earlier in "$STATE"/confirmed.*; do
    [ ! -d "$earlier" ] || { drop_stash "$earlier"; rm -rf "$earlier"; }
  done
  rm -rf "$STATE"/reverted.*
  find "$STATE" -maxdepth 1 -name 'new.*' -mmin +10 -exec rm -rf {} +
  find /run -maxdepth 1 -name 'provision-arm.*' -mmin +10 -exec rm -rf {} +
}

# --- verbs ---
# The files of a change come to /run, which a reboot empties. Where they are kept on the disk, the boot
# units, which remove them, are there first.
arm() { # id, seconds
  sent=/run/provision-arm.$1 new=$STATE/new.$1
  [ "$(id_of "$sent")" = "$1" ] || fail 2 "no change $1 to arm"
  lock_state
  change_under_way && fail 8 "another change is under way"
  remove_earlier
  take_fingerprint "$sent" "$sent/before" ||
    fail 4 "the state of the host cannot be recorded: $(tail -c 500 "$sent/before.err")"
  [ ! -s "$sent/before.err" ] || tail -c 2000 "$sent/before.err" >"$sent/log"
  date +%s >"$sent/since"
  boot_id >"$sent/boot"
  enable_boot_units || disarmed "$new" "systemd gets no unit for the rollback"
  # The change may fill up the disk: 64 KiB stay free for the rollback.
  { mkdir "$new" && cp "$sent"/* "$new" && head -c 65536 /dev/zero >"$new/reserve"; } ||
    disarmed "$new" "no room in $STATE"
  sync "$new"/* "$new" || disarmed "$new" "$new cannot be written to the disk"
  set_timer "$1" "$2" "$new" || disarmed "$new" "systemd sets no timer for the rollback"
  move "$new" "$TXN" || { stop_timers "$1"; disarmed "$new" "$TXN cannot be written"; }
  rm -rf "$sent"
  unlock_state
}
disarmed() { # folder of the change, message
  rm -rf "$1"
  disable_boot_units
  fail 4 "$2"
}

# A connection may be lost while the script arrives: half of it must not run.
# shellcheck disable=SC2016 # the shell of the script expands it
RUN_WHOLE='program=$(cat) && case $program in
*"
# end $1") eval "$program" ;;
*) echo "the script of the change did not arrive whole" >&2; exit 4 ;;
esac'
act() { # id, part, nonce at the end of the script on stdin; runs as a unit of its own
  [ "$(id_of "$TXN")" = "$1" ] || exit 3
  if [ "$2" = 1 ]; then
    take_fingerprint "$TXN" "$TXN/still"
    compare_fingerprint "$TXN" "$TXN/still" >"$TXN/out.1" || exit 4
  elif [ -e "$TXN/kept.$(($2 - 1))" ]; then
    # The part before stays whatever comes (packages): a rollback leads back to the state after it.
    take_fingerprint "$TXN" "$TXN/still" && sync "$TXN/still" &&
      mv -T "$TXN/still" "$TXN/before" || exit 4
  fi
  exec /bin/sh -c "$RUN_WHOLE" sh "$3" >"$TXN/out.$2" 2>&1
}

rearm() { # id, seconds; the new timer is set before the old ones stop, so that one always runs
  [ "$(id_of "$TXN")" = "$1" ] || exit 3
  set_timer "$1" "$2" "$TXN" || fail 4 "systemd sets no timer for the rollback"
  stop_timers "$1" "$timer"
  [ "$(id_of "$TXN")" = "$1" ] || { stop_timers "$1"; exit 3; }
  write "$TXN/looked" yes
}

refuse() { # id, status, message; status 3 if the rollback has begun at this very moment
  [ "$(id_of "$TXN")" = "$1" ] || exit 3
  fail "$2" "$3"
}
confirm() { # id, token; or id, --force, person
  [ "$(id_of "$TXN")" = "$1" ] || exit 3
  if [ "$2" = --force ]; then write "$TXN/forced" "$3"; else
    [ "$(printf %s "$2" | sha256sum | cut -c1-64)" = "$(cat "$TXN/nonce")" ] ||
      refuse "$1" 7 "wrong token"
  fi
  [ -e "$TXN/looked" ] || refuse "$1" 4 "the change was not checked over a new connection yet"
  [ ! -e "/run/provision-undone-$1" ] ||
    fail 9 "it was rolled back already, and $STATE could not be written"
  # What cannot be recorded is not confirmed, and will be rolled back.
  move "$TXN" "$STATE/confirmed.$1" || refuse "$1" 9 "$STATE cannot be written"
  stop_timers "$1"
  write "$STATE/confirmed.$1/ended" "$(date +%s)"
  lock_state
  finish "$STATE/confirmed.$1"
}

kill_acts() { # id; whatever the change is still doing
  acts="provision-act-$1-*.service"
  systemctl kill -s KILL "$acts" 2>/dev/null
  tries=0
  while [ $tries -lt 50 ] && systemctl -q is-active "$acts" 2>/dev/null; do
    tries=$((tries + 1)); sleep 0.1
  done
}
roll_back() { # folder, list or early; the parts from the last to the first
  # shellcheck disable=SC2012 # the names are ours: undo.NUMBER
  for part in $(ls "$1" | sed -n 's/^undo\.//p' | sort -rn); do
    for step in $(/bin/sh "$1/undo.$part" "$2"); do
      [ "$step" = always ] || grep -qx "$part.$step" "$1/journal" 2>/dev/null || continue
      timeout -k 5 120 /bin/sh "$1/undo.$part" "$step" 7<&- 8<&- 9<&- ||
        echo "step $part.$step of the undo failed: $?"
    done
  done
}
boot_id() { cat /proc/sys/kernel/random/boot_id; }
# A boot since the arming has taken away what a follower gives back. A person may have stopped it
# before the change. While another one holds the lock, this is the follower, which gives back itself.
give_back_volatile() { # folder
  [ "$(cat "$1/boot" 2>/dev/null)" != "$(boot_id)" ] && flock -n 9 2>/dev/null || return 0
  name=$(cat "$1/lock" 2>/dev/null) && name=${name#/run/provision-} || return
  volatile=/etc/provision/${name%.lock}/volatile.sh
  [ ! -x "$volatile" ] || timeout -k 5 120 "$volatile" 7<&- 8<&- 9<&-
}
is_as_before() { # folder; the fingerprint tells, not the exit statuses of the steps
  # Nothing has begun here: whatever is different is not of this change.
  grep -qs . "$1/journal" || return 0
  # Nothing of a part that stays (packages) is rolled back.
  [ -e "$1/kept.1" ] && ! grep -qsv '^1\.' "$1/journal" && return
  take_fingerprint "$1" "$now"
  compare_fingerprint "$1" "$now" >/dev/null
}

# dockerd 28.5 that was killed may leave containers exited that have to run. The fingerprint has ours only.
start_containers() { # folder
  sed -n 's|^container "/\([^"]*\)" "running" .*|\1|p' "$1/before" | while read -r name; do
    ! grep -q "^container \"/$name\" \"exited\" " "$now" || timeout 60 docker start "$name" </dev/null
  done
}

end_as_done() { # id; another process has ended the change meanwhile
  rm -f "/run/provision-undone-$1"
  exit 0
}
# As descriptor 7. Only root can open the folder: another rollback of the same change holds it. A
# rollback never gives up, so the journal of its unit has the holder instead.
hold_change() { # folder
  exec 7<"$1" || return
  until flock -w 60 7; do
    [ -d "$1" ] || return
    echo "waiting for the lock of $1, held by$(exec 7<&-; holders "$1")" >&2
  done
}
# As descriptor 9, for as long as the follower must not interfere. No lock stops a rollback: after 5 s
# it only notes who holds the lock.
hold_inventory_lock() { # folder
  lock=$(cat "$1/lock")
  [ ! -h "$lock" ] && { [ -f "$lock" ] || [ ! -e "$lock" ]; } && (: >>"$lock") 2>/dev/null || return 0
  exec 9>>"$lock"
  flock -w 5 9 || echo "$lock is held by$(exec 9>&-; holders "$lock")"
}
revert() { # id, reason
  change=$STATE/reverting.$1 pauses='0 1 2 3'
  # After a boot the followers of all inventories bring back routes and rules, which takes longer.
  if [ "$2" = boot ]; then pauses='0 1 2 3 5 8 13 20 40'; else await_boot_undo; fi
  # A rollback that came to no good end may be asked for again.
  [ "$(cat "$STATE/reverted.$1/result" 2>/dev/null)" != incomplete ] ||
    move "$STATE/reverted.$1" "$change"
  if [ ! -d "$change" ]; then
    [ "$(id_of "$TXN")" = "$1" ] || end_as_done "$1"
    # If the disk takes no record, it takes no confirmation either: go on.
    move "$TXN" "$change" 2>/dev/null || change=$TXN
    # A confirmation that comes once the disk takes records again comes too late.
    [ "$change" != "$TXN" ] || write "/run/provision-undone-$1" "$2"
    rm -f "$change/reserve"
    write "$change/reason" "$2"
  fi
  [ -d "$change" ] || end_as_done "$1"
  hold_change "$change"
  [ -d "$change" ] || end_as_done "$1"
  kill_acts "$1"
  # Below /run: the disk may be full, and a command whose output cannot be written fails.
  log=/run/provision-undo-$1.log now=/run/provision-undo-$1.now
  write "$log" "undo of $1 ($2)" || log=/dev/null
  result=incomplete
  for pause in $pauses; do
    exec 9<&- # in the pause the follower may bring back what is not part of the change
    sleep "$pause"
    hold_inventory_lock "$change" >>"$log"
    {
      roll_back "$change" list
      give_back_volatile "$change"
    } >>"$log" 2>&1
    is_as_before "$change" && { result=reverted; break; }
    start_containers "$change" >>"$log" 2>&1
  done
  exec 9<&-
  [ $result = reverted ] || compare_fingerprint "$change" "$now" >>"$log" 2>&1
  write "$change/result" "$result"
  write "$change/ended" "$(date +%s)"
  (tail -c 4000 "$log" >"$change/log") 2>/dev/null
  remove_inventory_lock "$change"
  rm -f "$now" "$now.err" "/run/provision-undo-$1.log"
  lock_state
  # What could not be recorded is rolled back again, at the deadline or at the next boot.
  [ "$change" != "$TXN" ] && move "$change" "$STATE/reverted.$1" || exit 0
  rm -f "/run/provision-undone-$1"
  [ $result != reverted ] || keep_record "$STATE/reverted.$1"
  disable_boot_units
  stop_timers "$1"
  exit 0
}

# Power that was lost while a change was armed leaves its files. Before the network is up, nobody arms.
remove_unarmed() { # early or late
  if [ "$1" = early ]; then rm -rf "$STATE"/new.*; else
    lock_state
    disable_boot_units
    records=$(find "$STATE" -maxdepth 1 \( -name 'reverted.*' -o -name 'confirmed.*' \))
    [ -n "$records" ] || remove_guard
    unlock_state
  fi
}
boot() { # early or late
  for change in "$TXN" "$STATE"/reverting.*; do
    [ -d "$change" ] || continue
    id=$(id_of "$change")
    if [ "$change" = "$TXN" ]; then
      move "$TXN" "$STATE/reverting.$id" && change=$STATE/reverting.$id
      rm -f "$change/reserve"
      write "$change/reason" boot
    fi
    if [ "$1" = early ]; then roll_back "$change" early; else (revert "$id" boot); fi
  done
  [ "$1" = early ] || for confirmed in "$STATE"/confirmed.*; do
    [ ! -d "$confirmed" ] || finish "$confirmed"
  done
  remove_unarmed "$1"
}

verb=$1 id=${2:-}
case $verb in
arm | act | rearm | confirm | revert)
  case $id in '' | *[!0-9a-f]*) fail 2 "the id of a change is hexadecimal" ;; esac
  shift
  "$verb" "$@"
  ;;
boot) boot "${2:-}" ;;
*) fail 2 "verbs: arm, act, rearm, confirm, revert or boot" ;;
esac
