# Adds a rule to a firewall, or removes one of ours, also while the firewall is off.
# Prelude: host/firewall_files.sh
# Arguments: open, close or undo, path of the claim, tool, zone (`-` for ufw), and the rule: for ufw
# its mark as text, its tuple and the arguments of `ufw`; for firewalld the end of an option
# (`rich-rule=…` or `source=…`).

verb=$1 claim=$2 tool=$3 zone=$4; shift 4
choose_files
# Present where the permanent rule is the user's, who had not reloaded firewalld.
saved_by_user=/var/lib/provision/firewall/saved-by-user/${claim##*/}
case $tool in
ufw)
  command -v ufw >/dev/null 2>&1 || [ "$verb" = open ] || exit 0
  mark=$1 tuple=$2; shift 2
  # ufw writes comments in hexadecimal: `provision:`, whichever inventory has made the rule. One
  # without it is the user's.
  rule_is_there() {
    grep -qF "### tuple ### $tuple comment=70726f766973696f6e3a" /etc/ufw/user.rules 2>/dev/null
  }
  add_rule() { ufw "$@" comment "$mark" >/dev/null; }
  remove_rule() { ! rule_is_there || ufw delete "$@" >/dev/null; } ;;
*)
  command -v firewall-cmd >/dev/null 2>&1 || [ "$verb" = open ] || exit 0
  runs=
  ! systemctl is-active -q firewalld || runs=yes
  rule_is_there() { firewall-cmd -q --permanent --zone="$zone" --query-"$1"; }
  add_rule() { firewall-cmd -q --permanent --zone="$zone" --add-"$1"; }
  # Also where the zone is gone, which every other command would fail for.
  remove_rule() {
    if [ -z "$runs" ]; then
      firewall-offline-cmd -q --zone="$zone" --remove-"$1" || : # it fails without the rule
    elif rule_is_there "$1"; then
      firewall-cmd -q --permanent --zone="$zone" --remove-"$1"
    fi
  } ;;
esac

case $verb$tool in
openfirewalld)
  firewall-cmd -q --zone="$zone" --add-"$1" || exit
  [ ! -e "$saved_by_user" ] || exit 0 ;;
closefirewalld | undofirewalld)
  saved=
  [ ! -e "$saved_by_user" ] || saved=yes
  # After `close` the user's rule has the effect that its next reload would give it.
  if [ -n "$runs" ] && [ "$verb$saved" != closeyes ] &&
    firewall-cmd -q --zone="$zone" --query-"$1"; then
    firewall-cmd -q --zone="$zone" --remove-"$1" || exit
  fi
  if [ -n "$saved" ]; then
    rm -f -- "$saved_by_user"; rmdir -p --ignore-fail-on-non-empty -- "${saved_by_user%/*}"; exit
  fi ;;
esac
case $verb in
open) keep_files "$@" && add_rule "$@" ;;
*) remove_rule "$@" && restore_files ;;
esac
