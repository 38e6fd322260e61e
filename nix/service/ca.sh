# The certificate authority of the clan's scrapes. Ten years: it signs nothing but
# what vars generators make, and its key leaves no admin's machine.
openssl ecparam -name prime256v1 -genkey -noout -out "$out/ca.key"
openssl req -x509 -new -sha256 -days 3650 -key "$out/ca.key" -out "$out/ca.pem" \
  -subj "/CN=clanmon" -addext "keyUsage=critical,keyCertSign,cRLSign"
