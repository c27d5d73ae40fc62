#!/bin/sh
# Ends a change of this host: by a confirmation, or by its undo at the deadline, at a failure or
# after a reboot. A change is one folder, and what becomes of it is one rename:
#   new.ID → txn (armed) → confirmed.ID, or → reverting.ID → reverted.ID
# Whoever renames first has decided. Verbs: arm act rearm confirm revert boot.
# Exit status: 2 usage, 3 another change or none, 4 refused, 7 wrong word, 8 busy, 9 not recorded.
PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export PATH LC_ALL
umask 077
D=/var/lib/provision T=/var/lib/provision/txn SYSTEM=/etc/systemd/system

fail() { status=$1; shift; printf '%s\n' "$*" >&2; exit "$status"; }
id_in() { cat "$1/id" 2>/dev/null; }
to() { mv -T -- "$1" "$2" && sync "$D"; } # a decision, made to last
# Errors of a redirection would end a shell: they are met in one of its own.
note() { (printf '%s\n' "$2" >"$1") 2>/dev/null; }

alone() { { exec 8<"$D" && flock -w 20 8; } || fail 4 "its state folder is locked"; }
not_alone() { exec 8<&-; }

busy() { # is any change under way?
  [ ! -d "$T" ] || return 0
  for other in "$D"/reverting.*; do [ ! -d "$other" ] || return 0; done
  return 1
}

# --- the dead man's timer ---
timers() {
  systemctl list-units --all --plain --no-legend --full "provision-revert-$1-*.timer" |
    while read -r unit _; do echo "$unit"; done
}
set_timer() { # id, seconds, folder → its name; never the same name twice
  timer=provision-revert-$1-$(date +%s%N) deadline=$(($(date +%s) + $2 + 1))
  # By the clock, as a reload of systemd's units begins --on-active anew, whoever asks for it; that
  # is for a clock that is set back. Where the guard itself is gone by then it has had its end.
  # No dollar is left in the words: systemd 252 would put its own values there.
  systemd-run -q --collect --unit="$timer" --on-calendar="@$deadline" --on-active="$(($2 + 1))" \
    --timer-property=AccuracySec=10ms --timer-property=IgnoreOnIsolate=yes \
    -p Type=oneshot -p TimeoutStartSec=infinity -p OOMScoreAdjust=-1000 \
    -p Restart=on-failure -p RestartSec=1 -p StartLimitIntervalSec=0 \
    /bin/sh -c "[ ! -e $0 ] || exec /bin/sh $0 revert $1 deadline" 7<&- 8<&- &&
    systemctl -q is-active "$timer.timer" || return
  note "$3/deadline" "$deadline" || :
}
stop_timers() { # id, but not this one
  for unit in $(timers "$1"); do
    [ "$unit" = "${2:-}.timer" ] || systemctl stop "$unit" 2>/dev/null
  done
}

# --- after a reboot: files before the network starts, the rest once managers run ---
boot_unit() { # name, stage, order
  cat >"$SYSTEM/.$1.provision-new" <<EOF &&
[Unit]
Description=provision: undo a change that was not confirmed before the reboot ($2)
$3
[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart=/bin/sh $0 boot $2
EOF
  sync "$SYSTEM/.$1.provision-new" && mv -fT "$SYSTEM/.$1.provision-new" "$SYSTEM/$1"
}
EARLY="DefaultDependencies=no
RequiresMountsFor=/var/lib/provision /etc
After=systemd-remount-fs.service
Before=network-pre.target systemd-networkd.service ssh.service docker.service shutdown.target
Conflicts=shutdown.target"
LATE="After=network.target docker.service openvswitch-switch.service etcd.service
RequiresMountsFor=/var/lib/provision /etc"
boot_on() {
  mkdir -p "$SYSTEM/sysinit.target.wants" "$SYSTEM/multi-user.target.wants" &&
    boot_unit provision-boot-early.service early "$EARLY" &&
    boot_unit provision-boot-late.service late "$LATE" &&
    ln -sf ../provision-boot-early.service "$SYSTEM/sysinit.target.wants/" &&
    ln -sf ../provision-boot-late.service "$SYSTEM/multi-user.target.wants/" &&
    sync "$SYSTEM" "$SYSTEM/sysinit.target.wants" "$SYSTEM/multi-user.target.wants"
}
boot_off() { # while any change is under way, they stay
  busy && return
  rm -f "$SYSTEM"/sysinit.target.wants/provision-boot-early.service \
    "$SYSTEM"/multi-user.target.wants/provision-boot-late.service \
    "$SYSTEM"/provision-boot-early.service "$SYSTEM"/provision-boot-late.service
  rmdir --ignore-fail-on-non-empty "$SYSTEM"/sysinit.target.wants 2>/dev/null
}

# --- the record of a change that has ended ---
tidy() {
  for file in "$1"/*; do
    case ${file##*/} in
    id | about | since | deadline | reason | result | ended | log) ;;
    *) rm -rf "$file" ;;
    esac
  done
}
unlock_inventory() { # the lock of the follower goes with the last thing of its inventory
  lock=$(cat "$1/lock" 2>/dev/null) || return
  inventory=${lock#/run/provision-}
  [ -d "/etc/provision/${inventory%.lock}" ] || rm -f "$lock"
}
discard() { # what the change had put aside; again, until it has succeeded
  for part in "$1"/discard.*; do
    [ ! -f "$part" ] || { timeout 300 /bin/sh "$part" 8<&- >>"$1/log" 2>&1 && rm -f "$part"; }
  done
}
clean() { # nothing of ours on this host: nor is its guard
  [ ! -e /etc/provision ] && [ ! -e "$D/was" ] && ! busy || return
  rm -rf "$D"/confirmed.* "$D"/reverted.* "$D"/guard-*
  rmdir "$D" 2>/dev/null
  systemctl daemon-reload # which may know the units for a reboot, if others reloaded meanwhile
}
finish() { # a confirmed change
  discard "$1"
  for part in "$1"/discard.*; do [ ! -f "$part" ] || return; done
  unlock_inventory "$1"
  boot_off
  tidy "$1"
  clean
}
forget_earlier() {
  for old in "$D"/confirmed.*; do [ ! -d "$old" ] || { discard "$old"; rm -rf "$old"; }; done
  rm -rf "$D"/reverted.*
  find "$D" -maxdepth 1 -name 'new.*' -mmin +10 -exec rm -rf {} +
}

# --- verbs ---
arm() { # id, seconds
  new=$D/new.$1
  [ "$(id_in "$new")" = "$1" ] || fail 2 "nothing to arm"
  alone
  busy && fail 8 busy
  forget_earlier
  /bin/sh "$new/witness" >"$new/before" 8<&- || fail 4 "its state cannot be recorded"
  # Room for the undo on a disk that the change fills up.
  { date +%s >"$new/since" && head -c 65536 /dev/zero >"$new/reserve"; } || fail 4 "no room for it"
  sync "$new"/* "$new" || fail 4 "it cannot be written to the disk"
  { boot_on && set_timer "$1" "$2" "$new"; } || { boot_off; fail 4 "no timer can be set"; }
  to "$new" "$T" || { stop_timers "$1"; boot_off; fail 4 "it cannot be recorded"; }
  not_alone
}

act() { # id, part; runs as a unit of its own
  [ "$(id_in "$T")" = "$1" ] || exit 3
  if [ "$2" = 1 ]; then
    /bin/sh "$T/witness" >"$T/still" 2>&1
    cmp -s "$T/before" "$T/still" || { diff "$T/before" "$T/still" >"$T/out.1"; exit 4; }
  elif [ -e "$T/kept.$(($2 - 1))" ]; then
    # What is kept (packages) is part of what the undo goes back to.
    /bin/sh "$T/witness" >"$T/still" 2>&1 && sync "$T/still" && mv -T "$T/still" "$T/before" ||
      exit 4
  fi
  exec /bin/sh "$T/act.$2" >"$T/out.$2" 2>&1
}

rearm() { # id, seconds: the new one first, so that there is never a moment without one
  [ "$(id_in "$T")" = "$1" ] || exit 3
  set_timer "$1" "$2" "$T" || fail 4 "no timer can be set"
  stop_timers "$1" "$timer"
  [ "$(id_in "$T")" = "$1" ] || { stop_timers "$1"; exit 3; }
  note "$T/looked" yes
}

refuse() { # id, status, why: unless its undo has begun in this very moment
  [ "$(id_in "$T")" = "$1" ] || exit 3
  fail "$2" "$3"
}
confirm() { # id, word (or --force, who)
  [ "$(id_in "$T")" = "$1" ] || exit 3
  if [ "$2" = --force ]; then note "$T/forced" "$3"; else
    [ "$(printf %s "$2" | sha256sum | cut -c1-64)" = "$(cat "$T/nonce")" ] ||
      refuse "$1" 7 "that is not its word"
  fi
  [ -e "$T/looked" ] || refuse "$1" 4 "its change has not been made and looked at yet"
  [ ! -e "/run/provision-undone-$1" ] || fail 9 "it is undone already, which could not be recorded"
  # What cannot be recorded is not confirmed, and will be undone.
  to "$T" "$D/confirmed.$1" || refuse "$1" 9 "it cannot be recorded"
  stop_timers "$1"
  note "$D/confirmed.$1/ended" "$(date +%s)"
  alone
  finish "$D/confirmed.$1"
}

stop_acts() { # what the change is still doing, whatever that is
  acting="provision-act-$1-*.service"
  systemctl kill -s KILL "$acting" 2>/dev/null
  tries=0
  while [ $tries -lt 50 ] && systemctl -q is-active "$acting" 2>/dev/null; do
    tries=$((tries + 1)); sleep 0.1
  done
}
undo() { # folder, list or early: the parts from the last to the first
  # shellcheck disable=SC2012 # the names are ours: undo.NUMBER
  for part in $(ls "$1" | sed -n 's/^undo\.//p' | sort -rn); do
    for step in $(/bin/sh "$1/undo.$part" "$2"); do
      [ "$step" = always ] || grep -qx "$part.$step" "$1/journal" 2>/dev/null || continue
      timeout -k 5 120 /bin/sh "$1/undo.$part" "$step" 7<&- 8<&- 9<&- ||
        echo "step $part.$step of the undo failed: $?"
    done
  done
}
same() { # is it as it was before? Seen, not believed.
  # Of what is kept nothing is undone.
  [ -e "$1/kept.1" ] && ! grep -qsv '^1\.' "$1/journal" && return
  /bin/sh "$1/witness" >"$now" 7<&- 8<&- 9<&- 2>&1
  cmp -s "$1/before" "$now"
}

gone() { # id; another has done it meanwhile
  rm -f "/run/provision-undone-$1"
  exit 0
}
revert() { # id, reason
  R=$D/reverting.$1
  # One whose undo came to no good end before may be asked for it again.
  [ "$(cat "$D/reverted.$1/result" 2>/dev/null)" != incomplete ] || to "$D/reverted.$1" "$R"
  if [ ! -d "$R" ]; then
    [ "$(id_in "$T")" = "$1" ] || gone "$1"
    # Where nothing can be recorded, no confirmation can be either: go on.
    to "$T" "$R" 2>/dev/null || R=$T
    # A confirmation that comes when it can be recorded again comes too late.
    [ "$R" != "$T" ] || note "/run/provision-undone-$1" "$2"
    rm -f "$R/reserve"
    note "$R/reason" "$2"
  fi
  [ -d "$R" ] || gone "$1"
  exec 7<"$R" && flock 7
  [ -d "$R" ] || gone "$1"
  stop_acts "$1"
  # Not on the disk, which may be full: a command whose output cannot be written fails.
  log=/run/provision-undo-$1.log now=/run/provision-undo-$1.now
  note "$log" "undo of $1 ($2)" || log=/dev/null
  lock=$(cat "$R/lock")
  if (: >>"$lock") 2>/dev/null; then exec 9>>"$lock"; flock -w 5 9; fi
  result=incomplete
  for pause in 0 1 2 3; do
    sleep $pause
    undo "$R" list >>"$log" 2>&1
    same "$R" && { result=reverted; break; }
  done
  exec 9<&-
  [ $result = reverted ] || diff "$R/before" "$now" >>"$log" 2>&1
  note "$R/result" "$result"
  note "$R/ended" "$(date +%s)"
  (tail -c 4000 "$log" >"$R/log") 2>/dev/null
  unlock_inventory "$R"
  rm -f "$now" "/run/provision-undo-$1.log"
  alone
  # What could not be recorded is undone again, at the deadline or at the next boot.
  [ "$R" != "$T" ] && to "$R" "$D/reverted.$1" || exit 0
  rm -f "/run/provision-undone-$1"
  [ $result != reverted ] || tidy "$D/reverted.$1"
  boot_off
  stop_timers "$1"
  exit 0
}

boot() { # early or late
  for R in "$T" "$D"/reverting.*; do
    [ -d "$R" ] || continue
    id=$(id_in "$R")
    if [ "$R" = "$T" ]; then
      to "$T" "$D/reverting.$id" && R=$D/reverting.$id
      rm -f "$R/reserve"
      note "$R/reason" boot
    fi
    if [ "$1" = early ]; then undo "$R" early; else (revert "$id" boot); fi
  done
  [ "$1" = early ] || for R in "$D"/confirmed.*; do [ ! -d "$R" ] || finish "$R"; done
}

verb=$1 id=${2:-}
case $verb in
arm | act | rearm | confirm | revert)
  case $id in '' | *[!0-9a-f]*) fail 2 "an id is hexadecimal" ;; esac
  shift
  "$verb" "$@"
  ;;
boot) boot "${2:-}" ;;
*) fail 2 "arm, act, rearm, confirm, revert or boot" ;;
esac
