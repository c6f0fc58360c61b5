"""The data officer's key: another person's than the node's administrator, under another passphrase.

``officer.key`` (Ed25519, encrypted) signs decisions about policies and the quota; ``officer.pub`` is its public
half, for the member's request; ``quota.toml`` says how many identities may ever be evaluated.
"""

from pathlib import Path

from veilmatch.errors import UsageError
from veilmatch_crypto import IdentityKey, KeyFileError, KeyUse, Passphrase, Quota
from veilmatch_node.quota import encode_quota, read_quota
from veilmatch_node.whole_file import write_whole
from veilmatch_policy.names import name as checked_name
from veilmatch_transport import SettingsError, read_secret
from veilmatch_transport.settings import read_file

_QUOTA = "quota.toml"


def make_officer(folder: Path, department: str, rows: int, passphrase: Passphrase) -> bytes:
    """Make an officer's key and the first quota; return the public key.

    Raises UsageError where there is one already, the service's keys open under the same passphrase, or the
    department's name is none, and KeyFileError for a passphrase that is too short.
    """
    path = folder / "officer.key"
    if path.exists():
        raise UsageError(f"{path}: is there already; see node quota for another number of rows")
    try:
        checked_name(department)
    except ValueError as error:
        raise UsageError(f"--name: {error}") from None
    require_another(folder / "identity.key", "identity", passphrase)
    officer = IdentityKey.generate()
    locked = passphrase.lock("officer", officer.to_bytes())
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(folder / "officer.pub", officer.public.hex().encode() + b"\n")
    write_whole(folder / _QUOTA, encode_quota(Quota.signed(officer, requester=department, rows=rows)))
    write_whole(path, locked.encode())
    return officer.public


def sign_quota(folder: Path, rows: int, passphrase: Passphrase) -> None:
    """Sign another number of rows.  Raises UsageError for a smaller one: what was used before stays used."""
    officer = IdentityKey.from_bytes(read_secret(folder / "officer.key", "officer", passphrase))
    old = read_quota(folder / _QUOTA, None, officer.public)
    if rows < old.rows:
        raise UsageError(f"--rows: {rows} is less than the {old.rows} that are signed; it never shrinks")
    write_whole(folder / _QUOTA, encode_quota(Quota.signed(officer, requester=old.requester, rows=rows)))


def officer_key(folder: Path) -> str | None:
    """The public key of the officer whose ``officer.pub`` lies in a folder, 64 hex digits; None: there is none.

    Raises SettingsError where it is no key.
    """
    path = folder / "officer.pub"
    if not path.exists():
        return None
    text = read_file(path).decode("ascii", errors="replace").strip()
    try:
        if len(bytes.fromhex(text)) == 32:
            return text.lower()
    except ValueError:
        pass
    raise SettingsError(f"{path}: is not a public key of 32 bytes in hex; get it from the officer again")


def require_another(path: Path, use: KeyUse, passphrase: Passphrase) -> None:
    """Raise UsageError where this passphrase opens the other person's key file.

    Whoever runs the node could then decide in the officer's name.
    """
    try:
        passphrase.unlock(use, path.read_text(encoding="ascii"))
    except (FileNotFoundError, KeyFileError, UnicodeError):
        return
    raise UsageError(f"{path}: opens under the same passphrase; officer and service have one each")
