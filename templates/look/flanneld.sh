# flanneld of the host itself, certificate requests and CA certificates, the ids in the data of etcd
# members, and what etcd answers, as `KEY VALUE` lines.
# Prelude: look/need.sh look/bounded.sh look/prelude.sh
# Variables: name etcd_member etcd_endpoints tcp_connect
# $etcd_member is look/etcd_member.pl, $tcp_connect is look/tcp_connect.pl, and $etcd_endpoints are
# URLs of an etcd of the user.

if command -v flanneld >/dev/null 2>&1; then
  echo "flanneld $(command -v flanneld) $(flanneld --version 2>&1 | head -c 4096 | tail -n 1)"
fi
for file in /etc/provision/"$name"/pki/*.csr /etc/provision/"$name"/pki/*.ca.crt; do
  [ ! -f "$file" ] || echo "tls ${file##*/} $(head -c 65536 "$file" | base64 -w0)"
done
for folder in /var/lib/private/provision-etcd/"$name"/*; do
  [ ! -d "$folder" ] || echo "etcd_data ${folder##*/} $(perl -e "$etcd_member" "$folder" || echo '?')"
done
for url in $etcd_endpoints; do
  echo "endpoint $url $(perl -e "$tcp_connect" "${url#https://}" 3)"
done
shared etcd etcd_members
