# Kind `certificate`: certificates of this inventory, whether they stay valid, and their files.
# Prelude: look/need.sh look/bounded.sh look/prelude.sh
# Variables: name renew_seconds
# $renew_seconds: a certificate that expires earlier than this is renewed.

set -- /etc/provision/"$name"/pki/*.issued
[ -f "$1" ] || exit 0
for issued; do
  role=${issued##*/}; role=${role%.issued}
  # The first line is the end of validity, the second the answer to -checkend in words.
  until=$(openssl x509 -in "${issued%.issued}.crt" -noout -enddate \
    -checkend "$renew_seconds" 2>/dev/null) && fresh=yes || fresh=no
  until=${until%%
*}
  echo "issued $role $fresh $(base64 -w0 <"$issued") ${until#notAfter=}"
done
cd /etc/provision/"$name"/pki || exit
sha256sum -- *.crt *.csr | sed 's/^/sum /'
for file in *.crt; do echo "file $file $(base64 -w0 <"$file")"; done
