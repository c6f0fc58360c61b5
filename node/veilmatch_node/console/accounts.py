"""Who may open the officer's page: local accounts in one file of the node, passwords as scrypt hashes.

The file is read at every request, so that whoever is taken out of it is out at once.
"""

import hashlib
import hmac
import os
import re
import threading
import tomllib
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from veilmatch_node.whole_file import write_whole
from veilmatch_transport import SettingsError

Role = Literal["officer", "reader"]  # who decides; who only looks

SHORTEST_PASSWORD = 12  # characters: NIST SP 800-63B asks for 8 beside a second factor, for 15 alone
_LONGEST_PASSWORD = 1000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SALT_BYTES = 16
_OTHERS = 0o077  # permission bits of group and others


class Hashing(BaseModel):
    """Parameters of scrypt (RFC 7914): by default OWASP's first choice, 128 MiB and under half a second."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n: Annotated[int, Field(ge=2, le=2**20)] = 2**17
    r: Annotated[int, Field(ge=1, le=32)] = 8
    p: Annotated[int, Field(ge=1, le=16)] = 1

    def hash(self, password: str, salt: bytes) -> bytes:
        """Return 32 bytes; two spellings that look the same (NFC) are the same."""
        return hashlib.scrypt(
            unicodedata.normalize("NFC", password).encode(),
            salt=salt,
            n=self.n,
            r=self.r,
            p=self.p,
            maxmem=2**31 - 1,
            dklen=32,
        )


class Account(BaseModel):
    """One account as the file has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Role
    salt: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    hash: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    scrypt: Hashing


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    accounts: Mapping[str, Account] = {}


class Accounts:
    """The file of accounts."""

    def __init__(self, path: Path, hashing: Hashing | None = None) -> None:
        """Take the file, which need not exist yet, and what new passwords are hashed with."""
        self._path = path
        self._hashing = hashing or Hashing()
        self._one_at_a_time = threading.Lock()  # each check takes 128 MiB

    def read(self) -> Mapping[str, Account]:
        """Return the accounts by name.  Raises SettingsError for a file that others can read, or that is none."""
        try:
            if self._path.stat().st_mode & _OTHERS:
                raise SettingsError(f"{self._path}: others can read the accounts; run chmod 600 on it")
            return _File.model_validate(tomllib.loads(self._path.read_text(encoding="utf-8"))).accounts
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise SettingsError(f"{self._path}: cannot be read ({error.strerror}); check the path") from None
        except (tomllib.TOMLDecodeError, UnicodeError, ValidationError):
            raise SettingsError(f"{self._path}: is not a file of accounts; restore it") from None

    def check(self, name: str, password: str) -> Account | None:
        """Return the account of this name and password; None where there is none, after as long a time."""
        account = self.read().get(name)
        hashing = self._hashing if account is None else account.scrypt
        salt = bytes(_SALT_BYTES) if account is None else bytes.fromhex(account.salt)
        with self._one_at_a_time:
            found = hashing.hash(password[:_LONGEST_PASSWORD], salt)
        if account is None or not hmac.compare_digest(found, bytes.fromhex(account.hash)):
            return None
        return account

    def add(self, name: str, password: str, role: Role) -> None:
        """Add an account, or give one another password and role.

        Raises SettingsError for a name or password that is not taken, or as `read` does.
        """
        if not _NAME.fullmatch(name):
            raise SettingsError(
                f"account {name!r}: is no name; write letters, digits, dots, - and _, at most 64"
            )
        if not SHORTEST_PASSWORD <= len(password) <= _LONGEST_PASSWORD:
            raise SettingsError(
                f"account {name}: the password has {len(password)} characters; "
                f"give one of {SHORTEST_PASSWORD} to {_LONGEST_PASSWORD}"
            )
        salt = os.urandom(_SALT_BYTES)
        account = Account(
            role=role,
            salt=salt.hex(),
            hash=self._hashing.hash(password, salt).hex(),
            scrypt=self._hashing,
        )
        self._write({**self.read(), name: account})

    def remove(self, name: str) -> None:
        """Take an account out.  Raises SettingsError where there is none."""
        accounts = dict(self.read())
        if accounts.pop(name, None) is None:
            known = ", ".join(sorted(accounts)) or "none"
            raise SettingsError(f"account {name}: there is none of this name; there are: {known}")
        self._write(accounts)

    def _write(self, accounts: Mapping[str, Account]) -> None:
        file = _File(accounts=dict(sorted(accounts.items())))
        write_whole(self._path, tomli_w.dumps(file.model_dump()).encode())
