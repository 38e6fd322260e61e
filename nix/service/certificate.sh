# Key and certificate of one machine. $names are its names, as DNS:a,DNS:b.
openssl ecparam -name prime256v1 -genkey -noout -out "$out/key.pem"
openssl req -new -sha256 -key "$out/key.pem" -subj "/CN=clanmon" -out request.pem
cat > extensions.cnf <<END
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth,clientAuth
subjectAltName=$names
END
openssl x509 -req -sha256 -days 3650 -in request.pem -extfile extensions.cnf -set_serial "0x00$(openssl rand -hex 16)" \
  -CA "$ca/ca.pem" -CAkey "$ca/ca.key" -out "$out/cert.pem"
