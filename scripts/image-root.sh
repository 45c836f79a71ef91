#!/bin/sh
# Makes the root of the image, for the Dockerfile: the packages that are named and all they depend on, as they are in Debian, and
# the few files that their installation would make.
#   image-root.sh FOLDER PACKAGE…
set -eu
root=$1
shift

apt-get update -qq
# rehash, which makes the names under which OpenSSL looks an authority up.
apt-get install --yes -qq --no-install-recommends ca-certificates openssl >/dev/null

# What a package needs to be configured (debconf) is not needed to run.
packages=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
    --no-pre-depends "$@" | grep '^[a-z0-9]' | grep -vx -e 'debconf.*' -e 'cdebconf.*' | sort -u)

mkdir -p "$root/var/lib/dpkg/status.d" /tmp/packages
cd /tmp/packages
# shellcheck disable=SC2086 # a list of names
apt-get download -qq base-files ca-certificates $packages
for package in *.deb; do
    dpkg-deb --extract "$package" "$root"
    name=$(dpkg-deb --field "$package" Package)
    dpkg-deb --field "$package" >"$root/var/lib/dpkg/status.d/$name"
done

# Conversions between character sets for C programs, and documentation besides the licences.
cd "$root"
rm -rf usr/lib/*/gconv usr/share/man usr/share/lintian usr/sbin usr/share/base-files
find usr/share/doc -type f ! -name copyright -delete
find . -xtype l -delete
find . -depth -mindepth 1 -type d -empty -delete

# The authorities, as update-ca-certificates lays them out.
mkdir -p etc/ssl usr/lib/ssl
cp -a /etc/ssl/certs etc/ssl/
cp -a /etc/ssl/openssl.cnf etc/ssl/
ln -s /etc/ssl/certs usr/lib/ssl/certs
ln -s /etc/ssl/openssl.cnf usr/lib/ssl/openssl.cnf

echo 'hosts: files dns' >etc/nsswitch.conf
printf '%s\n' 'root:x:0:0:root:/:/sbin/nologin' 'datakit:x:65532:65532:datakit:/home/datakit:/sbin/nologin' >etc/passwd
printf '%s\n' 'root:x:0:' 'datakit:x:65532:' >etc/group

# Where things are mounted. A named volume takes the owner over; the group is for platforms that choose a user of their own.
install -d -m 1777 tmp
for folder in data etc/datakit home/datakit run/krb5 var/cache/datakit; do
    install -d -o 65532 -g 0 -m 0775 "$folder"
done
