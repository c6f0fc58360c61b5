#!/bin/sh
# Installs veilmatch from this folder into TARGET, a new virtual environment, without a network:
#     sh install.sh /opt/veilmatch
# PYTHON says with which Python, 3.11 to 3.13: PYTHON=python3.12 sh install.sh /opt/veilmatch
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=${1:?say where to, for example: sh install.sh /opt/veilmatch}
python=${PYTHON:-python3}

fail() {
    echo "install.sh: $1" >&2
    exit 1
}

[ "$(uname -m)" = "$(cat "$here/machine")" ] ||
    fail "this bundle is for $(cat "$here/machine"), this machine is $(uname -m); take the other bundle"
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' ||
    fail "$python is not Python 3.11, 3.12 or 3.13; set PYTHON to one that is"
"$python" -c 'import ensurepip, venv' ||
    fail "$python has no module venv; install your system's package of it (Debian: python3-venv)"
[ ! -e "$target" ] || fail "$target is there already; name a new folder, or remove it"
(cd "$here" && sha256sum --check --quiet --strict SHA256SUMS) ||
    fail "a file of this bundle is not what it was; copy the bundle again"

"$python" -m venv "$target"
# Isolated: no index, mirror or option that this machine's own pip configuration names.
"$target/bin/python" -m pip --isolated install --quiet --disable-pip-version-check --no-cache-dir \
    --no-index --find-links "$here/wheels" --require-hashes --requirement "$here/requirements.txt"
"$target/bin/veilmatch" --help >/dev/null
echo "installed: $target/bin/veilmatch"
