#!/bin/sh
# POSTGRES_USER, POSTGRES_DB and POSTGRES_PASSWORD_FILE, as the image of Docker Hub takes them.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    install -d -o postgres -m 0700 "$PGDATA"
    password=/tmp/password
    install -o postgres -m 0400 "$POSTGRES_PASSWORD_FILE" $password
    runuser -u postgres -- initdb -D "$PGDATA" -U "$POSTGRES_USER" --pwfile $password --auth-host scram-sha-256 --auth-local trust --locale C.UTF-8 -E UTF8
    rm $password
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    # Over its socket alone until the database is there, as that image does.
    runuser -u postgres -- pg_ctl -D "$PGDATA" -w -o "-c listen_addresses=''" start
    createdb -U "$POSTGRES_USER" "$POSTGRES_DB"
    runuser -u postgres -- pg_ctl -D "$PGDATA" -w -m fast stop
fi
exec runuser -u postgres -- "$@" -c listen_addresses='*'
