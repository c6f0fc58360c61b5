"""How many identities a department may ever have evaluated, signed by its data officer (protocol.md, 3 step 2)."""

import tomllib
from pathlib import Path
from typing import Annotated

import tomli_w
from pydantic import Field, StringConstraints, ValidationError

from veilmatch_crypto import Quota, SignatureRefusedError
from veilmatch_transport import SettingsError
from veilmatch_transport.settings import Section, read_file


class _File(Section):
    requester: str
    rows: Annotated[int, Field(ge=0, lt=2**63)]
    signature: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$")]


def read_quota(path: Path, name: str | None, officer: bytes) -> Quota:
    """Read the quota of the department ``name`` (None: of any), signed under the ``officer``'s public key.

    Raises SettingsError where the file is not one, is another department's or is not signed.
    """
    try:
        file = _File.model_validate(tomllib.loads(read_file(path).decode()))
    except (ValidationError, UnicodeError, tomllib.TOMLDecodeError):
        raise SettingsError(f"{path}: is not a quota; see docs/configuration.md") from None
    quota = Quota(file.requester, file.rows, bytes.fromhex(file.signature))
    if name is not None and quota.requester != name:
        raise SettingsError(f"{path}: is the quota of {quota.requester}; get the one of {name}")
    try:
        quota.verify(officer)
    except SignatureRefusedError:
        raise SettingsError(
            f"{path}: is not signed by the officer that the directory names; have it signed again"
        ) from None
    return quota


def encode_quota(quota: Quota) -> bytes:
    """Return the bytes of a quota's file."""
    file = _File(requester=quota.requester, rows=quota.rows, signature=quota.signature.hex())
    return tomli_w.dumps(file.model_dump()).encode()
