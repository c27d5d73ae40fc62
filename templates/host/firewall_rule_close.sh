# Removes a rule of ours from a firewall, also from one that does not run.
# Arguments: ufw, mark of the rule in hexadecimal, tuple of the rule, arguments of `ufw delete`; or
# firewalld, zone, the end of an option (`rich-rule=…` or `source=…`).

case $1 in
ufw)
  command -v ufw >/dev/null 2>&1 || exit 0
  mark=$2 tuple=$3; shift 3
  # A rule of the same words without our mark is the user's.
  grep -qxF "### tuple ### $tuple comment=$mark" /etc/ufw/user.rules 2>/dev/null || exit 0
  ufw delete "$@" >/dev/null ;;
firewalld)
  command -v firewall-cmd >/dev/null 2>&1 || exit 0
  if systemctl is-active -q firewalld; then
    firewall-cmd -q --zone="$2" --remove-"$3" && firewall-cmd -q --permanent --zone="$2" --remove-"$3"
  else
    # It fails where the rule is not there.
    firewall-offline-cmd -q --zone="$2" --remove-"$3" || :
  fi ;;
esac
