# Takes the fingerprint of a host, and compares it with the one from before the change.
# $1 is the folder of the change: `witness` prints a fingerprint, `before` has the first one.
# Defines: take_fingerprint compare_fingerprint

take_fingerprint() { # folder of the change, file; only stdout is compared
  # A tool may print a warning at one time and not at another (iptables-save, once legacy tables
  # exist): stderr does not describe the state of the host.
  /bin/sh "$1/witness" </dev/null >"$2" 2>"$2.err" 7<&- 8<&- 9<&-
}
# What the followers of this host may give back at any time: chains, tables, devices and ip_forward.
volatile_names() {
  cat /etc/provision/*/volatile.sh 2>/dev/null |
    grep -o -e 'PROV-[[:alnum:]_.-]*' -e 'vx-[[:alnum:]_.-]*' -e 'net\.ipv4\.ip_forward' |
    sort -u | tr '\n' ' '
}
# The fingerprint of now without what was damaged before the change, and is whole again: chains and
# tables that a flush had taken, chains that it had emptied, ip_forward, a claimed route, and a deleted
# VXLAN device or LAN bridge.
without_healed() { # folder of the change, file of the fingerprint of now
  awk -v names="$(volatile_names)" '
    # Rules of such a chain, and the jumps to it, had gone.
    function flushed(chain, table) {
      return ((table, chain) in declared || chain in given) && !((table, chain) in used)
    }
    BEGIN { for (number = split(names, list, " "); number; number--) given[list[number]] }
    { rule = $2 == "-A"
      link = $1; sub(/\/bridge$/, "", link); sub(/.*\//, "", link)
      # Section `routes`: those of the kernel, then files of claims and the rows in them.
      if (/^# /) { section = $2; files = 0 }
      if (/^\/etc\/provision\//) files = 1
      row = section == "routes" && /^[0-9.\/]+ (via|dev) /; destination = $1 ~ /\// ? $1 : $1 "/32"
      route = row && !files; way = $2 " " $3
      device = section == "vxlan" && $1 ~ /^vx-/
      bridge = $1 ~ /^\/sys\/.*\/bridge$/ || NF == 2 && $2 ~ /^[0-9.]+\/[0-9]+$/ }
    NR == FNR && $2 ~ /^:PROV-/ { declared[$1, substr($2, 2)] }
    NR == FNR && rule { used[$1, $3]; used[$1, $NF] }
    NR == FNR && route { routed[destination] }
    NR == FNR && row && files { claimed[destination] = way }
    NR == FNR && device { present[$1] }
    NR == FNR && $1 == "table" { tables[$3] }
    NR == FNR && $1 == "net.ipv4.ip_forward" { forward = $2 }
    NR == FNR && $1 ~ /\/uplink\// { recorded[link] }
    NR == FNR && bridge { present[link] }
    NR == FNR { next }
    $2 ~ /^:PROV-/ && !(($1, substr($2, 2)) in declared) && substr($2, 2) in given { next }
    rule && (flushed($3, $1) || flushed($NF, $1)) { next }
    $1 == "table" && $3 in given && !($3 in tables) { healed = 1 }
    healed { if ($0 == "}") healed = 0; next }
    # The lines after that of a device are its bridge and its table.
    device || /^# / { made = device && $1 in given && !($1 in present) }
    made { next }
    route && claimed[destination] == way && !(destination in routed) { next }
    $1 == "net.ipv4.ip_forward" && $1 in given && forward == 0 { $2 = forward }
    bridge && link in recorded && !(link in present) { next }
    { print }' "$1/before" "$2"
}
compare_fingerprint() { # folder of the change, file of the fingerprint of now; prints what differs
  cmp -s "$1/before" "$2" && return
  without_healed "$1" "$2" | diff "$1/before" - && return
  cat "$2.err"
  return 1
}
