"""Private keys at rest: encrypted under a passphrase, in a text file of five lines.

    veilmatch key file, version 1
    use: identity
    scrypt: n=131072, r=8, p=1
    salt: 16 bytes, hex
    locked: what Vault.lock gave, hex

The passphrase gives a key by scrypt (RFC 7914; 128 n r bytes of memory, here 128 MiB), the key locks the
secret by AES-256-GCM.  Use and parameters are authenticated: a file opens for its own use only.
Text in, text out; reading and writing files is the caller's.
"""

import os
import re
import unicodedata
from typing import Final, Literal, NamedTuple

from Crypto.Protocol.KDF import scrypt

from veilmatch_crypto.derive import KEY_BYTES
from veilmatch_crypto.errors import KeyFileError, SealError
from veilmatch_crypto.vault import Vault

KeyUse = Literal["identity", "sealing", "store", "officer", "root", "tls"]

_HEADER: Final = "veilmatch key file, version 1"
# The largest secret is a TLS key's PEM; a group without an end would take a hundred times the file's memory.
_FILE: Final = re.compile(
    rf"{_HEADER}\nuse: (?P<use>[a-z]+)\n"
    r"scrypt: n=(?P<n>[1-9]\d{0,9}), r=(?P<r>[1-9]\d{0,3}), p=(?P<p>[1-9]\d{0,3})\n"
    r"salt: (?P<salt>[0-9a-f]{32})\nlocked: (?P<locked>(?:[0-9a-f]{2}){1,8192})\n"
)
_SHORTEST: Final = 12  # characters: whoever has the file can try passphrases without limit
_SALT: Final = 16  # bytes: NIST SP 800-132, 5.1


class _Cost(NamedTuple):
    """Parameters of scrypt (RFC 7914, 2): memory and time are proportional to n r, time also to p."""

    n: int
    r: int
    p: int


_USUAL: Final = _Cost(2**17, 8, 1)  # OWASP's first choice: 128 MiB, under half a second
_MOST: Final = 2**22  # n r p: four times the usual, 512 MiB; a file must not ask for all of the memory


class Passphrase:
    """Locks and unlocks one owner's key files.

    Files that one object locks share a salt, so that whoever opens them all derives one key for all.
    """

    def __init__(self, text: str) -> None:
        """Take the passphrase, in any script; two spellings that look the same (NFC) are the same.

        Raises KeyFileError for an empty one.
        """
        if not text:
            raise KeyFileError("the passphrase is empty; give one")
        normal = unicodedata.normalize("NFC", text)
        self._passphrase = normal.encode()
        self._characters = len(normal)
        self._salt = os.urandom(_SALT)
        self._vaults: dict[tuple[bytes, _Cost], Vault] = {}

    def __repr__(self) -> str:
        return "Passphrase(...)"

    def lock(self, use: KeyUse, secret: bytes) -> str:
        """Return the text of a key file that holds ``secret`` for this use.

        Raises KeyFileError for a passphrase of fewer than 12 characters.
        """
        if self._characters < _SHORTEST:
            raise KeyFileError(f"the passphrase: has fewer than {_SHORTEST} characters; choose a longer one")
        locked = self._vault(self._salt, _USUAL).lock(_place(use, _USUAL), secret)
        cost = ", ".join(f"{name}={value}" for name, value in _USUAL._asdict().items())
        return f"{_HEADER}\nuse: {use}\nscrypt: {cost}\nsalt: {self._salt.hex()}\nlocked: {locked.hex()}\n"

    def unlock(self, use: KeyUse, text: str) -> bytes:
        """Return the secret of a key file.

        Raises KeyFileError, naming no content, where the text is no key file, is one for another use, asks
        for more memory or time than four times the usual, or does not open.
        """
        parts = _FILE.fullmatch(text)
        if parts is None:
            raise KeyFileError("is not a key file of this version; restore it")
        if parts["use"] != use:
            raise KeyFileError(f"holds the key for another use ({parts['use']}, not {use}); check the path")
        cost = _Cost(int(parts["n"]), int(parts["r"]), int(parts["p"]))
        if cost.n < 2 or cost.n & (cost.n - 1) or cost.n * cost.r * cost.p > _MOST:
            raise KeyFileError("asks for scrypt parameters that are not accepted; restore it")
        vault = self._vault(bytes.fromhex(parts["salt"]), cost)
        try:
            return vault.unlock(_place(use, cost), bytes.fromhex(parts["locked"]))
        except SealError:
            raise KeyFileError(
                "does not open: the passphrase is another one, or the file was changed; "
                "check the passphrase, or restore the file"
            ) from None

    def _vault(self, salt: bytes, cost: _Cost) -> Vault:
        if (salt, cost) not in self._vaults:
            self._vaults[salt, cost] = Vault(_derive(self._passphrase, salt, cost))
        return self._vaults[salt, cost]


def is_key_file(text: str) -> bool:
    """Whether a text says that it is a key file, of this or another version."""
    return text.startswith("veilmatch key file")


def _derive(passphrase: bytes, salt: bytes, cost: _Cost) -> bytes:
    # Bytes throughout: PyCryptodome would encode a str as Latin-1.
    return scrypt(passphrase, salt, KEY_BYTES, N=cost.n, r=cost.r, p=cost.p)


def _place(use: KeyUse, cost: _Cost) -> tuple[str | int | bytes, ...]:
    return ("key-file", 1, use, *cost)
