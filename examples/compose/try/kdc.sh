#!/bin/sh
# A realm with the account of the pipeline and the service of the SQL Server, whose keytabs it writes.
set -eu
realm=CORP.EXAMPLE
export KRB5_CONFIG=/tmp/krb5.conf KRB5_KDC_PROFILE=/tmp/kdc.conf
printf '[libdefaults]\n default_realm = %s\n' $realm >$KRB5_CONFIG
cat >$KRB5_KDC_PROFILE <<END
[kdcdefaults]
 kdc_listen = 0.0.0.0:88
 kdc_tcp_listen = 0.0.0.0:88
[realms]
 $realm = {
  database_name = /tmp/principal
  key_stash_file = /tmp/stash
  max_life = 10h
 }
[logging]
 kdc = STDERR
END
rm -f /keytabs/* /secrets/svc-etl.keytab
kdb5_util create -s -r $realm -P "$(head -c 18 /dev/urandom | base64)"
for account in svc-etl:/secrets/svc-etl.keytab MSSQLSvc/sql01.corp.example:1433:/keytabs/mssql.keytab; do
    kadmin.local -r $realm -q "addprinc -randkey ${account%:*}"
    kadmin.local -r $realm -q "ktadd -k ${account##*:} ${account%:*}"
done
# The user of the host's image.
chown 65532:65532 /secrets/svc-etl.keytab
chmod 0400 /secrets/svc-etl.keytab
touch /keytabs/ready
exec krb5kdc -n -r $realm
