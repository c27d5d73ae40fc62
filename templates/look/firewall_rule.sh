# Kind `firewall_rule`: claims of rules, and the rules that ufw and the claimed zones of firewalld
# have.
# Prelude: look/need.sh look/bounded.sh look/prelude.sh
# Lines: `claim INVENTORY TOOL ZONE RULE`, `ufw TUPLE`, and for firewalld `runtime ZONE JSON` and
# `saved ZONE JSON` (the permanent configuration), or `firewalld off`.

zones='' claims=''
for claim in /etc/provision/*/firewall/*; do
  [ -f "$claim" ] && [ ! -h "$claim" ] || continue
  owner=${claim%/firewall/*}
  claims="$claims
claim ${owner##*/} $(head -c 1024 "$claim" | head -n 1)"
done
if [ -n "$claims" ]; then
  printf '%s\n' "$claims"
  zones=$(printf '%s\n' "$claims" | sed -n 's/^claim [^ ]* firewalld \([^ ]*\) .*/\1/p' | sort -u)
fi
[ ! -f /etc/ufw/user.rules ] || sed -n 's/^### tuple ### /ufw /p' /etc/ufw/user.rules
# firewall-cmd would take 0.4 s for each question.
if [ -z "$zones" ]; then
  :
elif command -v firewall-cmd >/dev/null 2>&1 && systemctl is-active -q firewalld; then
  bus=org.fedoraproject.FirewallD1 root=/org/fedoraproject/FirewallD1
  printf '%s\n' "$zones" | while read -r zone; do
    settings=$(bounded busctl --json=short call $bus $root $bus.zone getZoneSettings2 s "$zone")
    echo "runtime $zone $settings"
    object=$(bounded busctl call $bus $root/config $bus.config getZoneByName s "$zone" |
      cut -d '"' -f 2)
    settings=$(bounded busctl --json=short call $bus "$object" $bus.config.zone getSettings2)
    echo "saved $zone $settings"
  done
else
  echo 'firewalld off'
fi
