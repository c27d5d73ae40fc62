# Succeeds if a link or file that a NIC's Linux bridge needs is not of the inventory.
# Arguments: the record of the NIC, the inventory, the bridge, all links that `create` makes, then its
# files of systemd-networkd.
# A record tells our bridges, files of networkd their first line. systemd-networkd makes the bridge of
# its files at boot, without an alias.

record=$1 inventory=$2 bridge=$3 links=$4; shift 4
[ -f "$record" ] || {
  for link in $links; do [ ! -e "/sys/class/net/$link" ] || exit 0; done
  for file; do
    [ -f "$file" ] && [ ! -h "$file" ] || { [ -e "$file" ] && exit; continue; }
    IFS= read -r line <"$file"
    [ "$line" = "# provision:$inventory" ] || exit 0
  done
  exit 1
}
[ -e "/sys/class/net/$bridge" ] || exit 1
[ -d "/sys/class/net/$bridge/bridge" ] || exit 0
case $(cat "/sys/class/net/$bridge/ifalias") in
'' | "provision:$inventory/"*) exit 1 ;;
esac
