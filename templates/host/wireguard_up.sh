# Brings a network's WireGuard device up, with the key and the peers of its files. Repeatable.
# Arguments: device, service of wireguard-go (empty: the kernel's module), path of the files without
# their endings (.key, .conf, .psk), MTU, alias, and "keep" or nothing. An empty MTU: only load the files
# into a device that runs. "keep": a device that has a key keeps it, because its peers may not know the
# key of the file yet; the change that draws a key loads it after they do.
# What is as wanted is left alone: a step that sets it again would wake `ip monitor`, and wireguard-go
# opens its sockets anew for each configuration. A peer that changes its key (`# replaces OLD`) keeps its
# old one, with its ranges, until the new one has had a handshake. Secret keys pass through pipes and
# variables only, because every user of the host can read arguments.

device=$1 service=$2 files=$3 mtu=$4 alias=$5 keep=$6
link=/sys/class/net/$device mover=provision-$device-key.service
ready() { wg show "$device" public-key >/dev/null 2>&1; }
[ -n "$mtu" ] || { ready && [ -f "$files.conf" ]; } || exit 0
if ! ready; then
  if [ -n "$service" ]; then systemctl start "$service"; else ip link add name "$device" type wireguard; fi ||
    exit
  tries=0
  until ready; do
    tries=$((tries + 1)); [ "$tries" -le 100 ] || { echo "$device does not come up" >&2; exit 1; }
    sleep 0.1
  done
fi
public=$(wg show "$device" public-key) || exit
private=
if [ -n "$keep" ] && [ "$public" != '(none)' ]; then
  private=$(wg showconf "$device" | sed -n 's/^PrivateKey = //p')
fi
[ -n "$private" ] || private=$(cat "$files.key") || exit
# A key of zeros is none: without a line, `wg syncconf` would leave an earlier key in place.
none=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
preshared() { # of a host
  secret=$none
  if [ -f "$files.psk" ]; then
    while read -r host key; do [ "$host" != "$1" ] || secret=$key; done <"$files.psk"
  fi
  printf 'PresharedKey = %s\n' "$secret"
}
config() {
  peer=
  while IFS= read -r line; do
    printf '%s\n' "$line"
    case $line in
      '[Interface]') printf 'PrivateKey = %s\n' "$private" ;;
      '# '*) peer=${line#\# } ;;
      'PublicKey = '*) preshared "$peer" ;;
    esac
  done <"$files.conf"
}
with_old_keys() {
  handshakes=$(wg show "$device" latest-handshakes) perl -00 -pe '
    if (/^# replaces (\S+)$/m) {
      my $old = $1;
      my ($new) = /^PublicKey = (\S+)$/m;
      if ($ENV{handshakes} =~ /^\Q$old\E\t/m && $ENV{handshakes} !~ /^\Q$new\E\t[1-9]/m) {
        (my $kept = $_) =~ s/^PublicKey = .*$/PublicKey = $old/m;
        s/^(AllowedIPs|PersistentKeepalive) = .*\n//mg;
        $_ = "$kept\n$_";
      }
    }'
}
# Moves the ranges of a peer to its new key at its first handshake, which comes when the peer uses it.
# This waits beside the program, for a minute at most: the peer changes its key after this host's step.
# shellcheck disable=SC2016 # the variables are perl's
MOVE='
my ($device, %ranges) = @ARGV;
my $end = time + 60;
while (%ranges && time < $end) {
  open my $wg, "-|", "wg", "show", $device, "latest-handshakes" or exit 1;
  my $handshakes = join "", <$wg>;
  close $wg or exit 1;
  for my $key (keys %ranges) {
    next unless $handshakes =~ /^\Q$key\E\t[1-9]/m;
    system("wg", "set", $device, "peer", $key, "allowed-ips", delete $ranges{$key}) == 0 or exit 1;
  }
  select undef, undef, undef, 0.005;
}'
# The name is free once systemd has deleted the file of the unit, a moment after the unit has ended.
stop_mover() {
  tries=0
  while [ -e "/run/systemd/transient/$mover" ] && [ "$tries" -lt 50 ]; do
    tries=$((tries + 1))
    systemctl stop "$mover" 2>/dev/null || sleep 0.1 # it has just ended
  done
}
move_ranges() {
  perl -00 -ne 'next unless /^# replaces /m;
    s/, /,/g; print "$1 $2\n" if /^PublicKey = (\S+)\nAllowedIPs = (\S+)$/m' "$files.conf" |
    xargs -r systemd-run -q --collect --unit="$mover" -p Nice=-10 perl -e "$MOVE" "$device"
}
# A keepalive that is turned on together with a new key calls all peers at once, without a packet of a
# container, which they would drop. `wg syncconf` would open new sockets just when they answer.
use_new_key() {
  keepalives=$(wg show "$device" persistent-keepalive |
    sed -n 's/^\([^\t]*\)\t\([0-9][0-9]*\)$/peer \1 persistent-keepalive \2/p')
  printf '%s\n' "$keepalives" | sed 's/[0-9]*$/0/' | xargs -r wg set "$device" || return
  printf '%s\n' "$keepalives" | xargs wg set "$device" private-key "$files.key"
}
# A peer that moved has another endpoint than its file says: that alone is no difference.
normalized() {
  perl -00 -ne 's/^(AllowedIPs = )(.*)/$1 . join ",", sort split m{, *}, $2/gme;
    push @parts, join " ", sort grep { /^\w+ = / && !/^(Endpoint|PresharedKey = A{43}=|PersistentKeepalive = (0|off)$)/ } split /\n/;
    END { print map { "$_\n" } sort @parts }'
}
if [ "$public" != '(none)' ] && [ "$public" != "$(printf '%s\n' "$private" | wg pubkey)" ]; then
  use_new_key || exit
fi
stop_mover
if [ "$(config | with_old_keys | normalized)" != "$(wg showconf "$device" | normalized)" ]; then
  config | with_old_keys | wg syncconf "$device" /dev/stdin || exit
fi
move_ranges || exit
[ -n "$mtu" ] || exit 0
[ "$(cat "$link/mtu")" = "$mtu" ] || ip link set dev "$device" mtu "$mtu" || exit
[ $(($(cat "$link/flags") & 1)) = 1 ] || ip link set dev "$device" up || exit
[ "$(cat "$link/ifalias")" = "$alias" ] || ip link set dev "$device" alias "$alias"
