#!/bin/sh
# Installs Debian's MariaDB for the tests of databases, where that needs nobody's answer; else they skip.
# Only its programs: the package that starts a service of its own is mariadb-server.
set -eu
{ command -v mariadbd || [ -x /usr/sbin/mariadbd ]; } >/dev/null && exit 0
command -v apt-get >/dev/null || exit 0
if [ "$(id -u)" = 0 ]; then
    as_root=
elif sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    exit 0
fi
echo "installing MariaDB, for the tests of departments' databases"
{
    $as_root apt-get update -qq &&
        $as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends mariadb-server-core mariadb-client-core
} >/dev/null 2>&1 || echo "could not install MariaDB: the tests that need it are skipped"
