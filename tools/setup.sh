#!/bin/sh
# Makes .venv with everything that requirements.txt pins by hash, and the project itself.
set -eu
PYTHON=${PYTHON:-python3}

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "veilmatch needs Python 3.11 or newer; $PYTHON is older. Set PYTHON to a newer one: make PYTHON=python3.12 setup" >&2
    exit 1
}
if ! "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; then
    # Debian and Ubuntu keep venv in a package of its own.
    version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    echo "installing python$version-venv (Debian keeps it apart from Python)"
    $as_root apt-get update -qq && $as_root apt-get install -y -qq "python$version-venv" || {
        echo "could not install python$version-venv: install it by hand and run make again" >&2
        exit 1
    }
fi
[ -x .venv/bin/python ] || "$PYTHON" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
echo "ready: .venv/bin/veilmatch"
