# Writes a usual configuration of nftables.service into a base tree, and enables the service.
# Run by chroot(8). Policy drop for the host itself. The service loads it before Docker starts;
# `flush ruleset` removes Docker's rules when a person restarts the service later.

cat >/etc/nftables.conf <<'END'
#!/usr/sbin/nft -f
flush ruleset
table inet filter {
  chain input {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    iif lo accept
    meta l4proto { icmp, ipv6-icmp } accept
    tcp dport 22 accept
  }
}
END
mkdir -p /etc/systemd/system/sysinit.target.wants
ln -sf /usr/lib/systemd/system/nftables.service /etc/systemd/system/sysinit.target.wants/
