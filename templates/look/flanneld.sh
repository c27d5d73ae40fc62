# flanneld of the host itself, certificate requests and CA certificates, as `KEY VALUE` lines.
# Prelude: look/need.sh look/bounded.sh look/prelude.sh
# Variables: name

if command -v flanneld >/dev/null 2>&1; then
  echo "flanneld $(command -v flanneld) $(flanneld --version 2>&1 | head -c 4096 | tail -n 1)"
fi
for file in /etc/provision/"$name"/pki/*.csr /etc/provision/"$name"/pki/*.ca.crt; do
  [ ! -f "$file" ] || echo "tls ${file##*/} $(head -c 65536 "$file" | base64 -w0)"
done
