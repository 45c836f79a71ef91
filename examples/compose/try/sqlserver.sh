#!/bin/sh
# A SQL Server with a small ERP, and a certificate of an authority of its own.
set -eu
cd /tmp
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj '/CN=Example Authority' -keyout ca.key -out ca.pem
openssl req -newkey rsa:2048 -nodes -subj /CN=sql01.corp.example -keyout server.key -out server.csr
printf 'subjectAltName=DNS:sql01.corp.example\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n' >server.ext
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile server.ext -out server.pem
install -m 0644 ca.pem /config/ca.pem
rm -f ready
# Nobody knows the password: logins are by ticket.
FAKE_SQLSERVER_PASSWORD=$(head -c 18 /dev/urandom | base64)
export FAKE_SQLSERVER_PASSWORD
exec fake-sqlserver --listen 0.0.0.0:1433 --keytab /keytabs/mssql.keytab --certificate-file server.pem --key-file server.key \
    --database-name ERP --erp "$ORDER_LINES" ${LARGE_ROWS:+--fast-table "dbo.large=$LARGE_ROWS"} >ready
