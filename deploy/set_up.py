"""Make the federation of compose.yaml: keys, requests, replies and configurations, by the project's own commands.

usage: set_up.py FOLDER

FOLDER/NAME is what the container of a member sees as its own folder, FOLDER/root the root's, FOLDER/officers/NAME
a data officer's: the officer's key is not for the node.  Passphrases are drawn here and written beside.  In a
federation that is no example everybody does their own part, on a machine of their own (docs/join.md).
"""

import os
import secrets
import subprocess
import sys
from pathlib import Path

DEPARTMENTS = ("civil_affairs", "education", "housing", "public_security", "social_insurance", "tax")
TRUSTEES = ("housing", "tax")
PORT = 7443
ROWS = 20_000  # identities that an officer allows to be evaluated; the register has 14,827
# Where the containers find these, as compose.yaml mounts them.
DATA = "/srv/data"
PASSPHRASE = "/run/secrets/passphrase"
METRICS = "127.0.0.1:9464"  # where the container's own health check asks


def run(*words: str) -> str:
    """Run a command of veilmatch and return what it printed; it says itself why it fails."""
    print("veilmatch", *words, flush=True)
    return subprocess.run(["veilmatch", *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def passphrase(path: Path) -> str:
    """Draw a passphrase into a file and return where it is, as ``--unlock`` says it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(secrets.token_urlsafe(24) + "\n", encoding="utf-8")
    return f"file:{path}"


def make_officer(folder: Path, name: str) -> None:
    """Make a department's data officer: the public key and the quota for the node, the key apart."""
    own = folder / "officers" / name
    unlock = passphrase(own / "passphrase")
    run("node", "officer", name, "--home", str(folder / name), f"--rows={ROWS}", "--unlock", unlock)


def make_member(folder: Path, name: str, *kind: str) -> Path:
    """Make a member's keys; return its request to the root."""
    home, unlock = folder / name, passphrase(folder / "secrets" / name)
    group = "node" if name in DEPARTMENTS else "coordinator"
    run(group, "init", name, "--home", str(home), "--unlock", unlock, *kind)
    if name in DEPARTMENTS:
        (home / "officer.key").rename(folder / "officers" / name / "officer.key")
    return home / f"{name}.request"


def make(folder: Path) -> None:
    """Make the whole federation below a folder that must not hold one."""
    for name in DEPARTMENTS:
        make_officer(folder, name)
    requests = [make_member(folder, name, f"--address={name}:{PORT}") for name in DEPARTMENTS]
    requests.append(make_member(folder, "coordinator", f"--address=coordinator:{PORT}"))
    requests.append(make_member(folder, "operator", "--operator"))

    root = ("--home", str(folder / "root"), "--unlock", passphrase(folder / "secrets" / "root"))
    run("federation", "init", "eusilc", *root)
    # One machine has made them all: there is nobody to telephone.
    run("federation", "add", *map(str, requests), *root, "--compared")
    run("federation", "set", *root, *(f"--trustee={name}" for name in TRUSTEES))
    fingerprint = run("federation", "show", "--home", str(folder / "root")).splitlines()[-1].strip()

    common = ("--root", fingerprint, "--unlock", f"file:{PASSPHRASE}")
    for name in (*DEPARTMENTS, "coordinator", "operator"):
        reply, home = str(folder / "root" / "replies" / f"{name}.reply"), ("--home", str(folder / name))
        if name in DEPARTMENTS:
            run("node", "join", reply, *home, *common, "--data", DATA)
        else:
            run("coordinator", "join", reply, *home, *common)
    for name in (*DEPARTMENTS, "coordinator"):
        role = "node" if name in DEPARTMENTS else name
        with (folder / name / f"{role}.toml").open("a", encoding="utf-8") as config:
            config.write(f'\n[metrics]\nlisten = "{METRICS}"\n')


def main() -> None:
    """Run the command line."""
    os.umask(0o077)
    folder = Path(sys.argv[1])
    if (folder / "root").exists():
        sys.exit(f"{folder}: holds a federation already; nothing was changed")
    make(folder)
    print("Next: docker compose up --detach --wait")


if __name__ == "__main__":
    main()
