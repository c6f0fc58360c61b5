"""Evidence from disk: packages below a folder, and the files of one as the coordinator listed them (protocol.md, 7).

Whoever reads trusts the federation's root and nothing else.  From the root follows the directory, from the
directory the coordinator's key, from that the index, and from the index every byte of every file.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from veilmatch_crypto import SignatureRefusedError, verify
from veilmatch_evidence.errors import EvidenceRefusedError
from veilmatch_evidence.package import (
    DIRECTORY,
    DIRECTORY_SIGNATURE,
    INDEX,
    INDEX_SIGNATURE,
    ROOT,
    Index,
    signed_index,
)
from veilmatch_policy import canonical
from veilmatch_policy.directory import Directory, open_directory
from veilmatch_policy.errors import DirectoryError

_REMEDY = "this evidence proves nothing: get it again, and ask who had it"


def refused(path: Path, what: str, record: int | None = None) -> EvidenceRefusedError:
    """The refusal of a file, and of the record in it, counted from 1 (of a log and a list: the line, the entry)."""
    where = str(path) if record is None else f"{path}:{record}"
    # A file's name is anybody's text and must not steer a terminal.
    text = "".join(c if c.isprintable() else "?" for c in f"{where}: {what}; {_REMEDY}")
    return EvidenceRefusedError(text)


def find_packages(folder: Path) -> list[Path]:
    """Return the packages below a folder, or the folder itself where it is one, in the order of their paths.

    Raises EvidenceRefusedError where there is none, or something lies there that belongs to none; OSError
    where the folder cannot be read.
    """
    packages = list(_packages(folder))
    if not packages:
        raise refused(folder / INDEX, "is missing: there is no evidence here")
    return packages


def _packages(folder: Path) -> Iterator[Path]:
    entries = sorted(folder.iterdir())
    if any(entry.name == INDEX for entry in entries):
        yield folder
        return
    for entry in entries:
        if _is_folder(entry):
            yield from _packages(entry)
        else:
            raise refused(entry, f"belongs to no evidence: {INDEX} is missing beside it and above it")


def _files(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if _is_folder(entry):
            yield from _files(entry)
        else:
            yield entry


def _is_folder(entry: Path) -> bool:
    """Raise EvidenceRefusedError for a link or a device: it is not kept with the evidence."""
    if entry.is_symlink() or not (entry.is_dir() or entry.is_file()):
        raise refused(entry, "is neither a file nor a folder")
    return entry.is_dir()


class Package:
    """The files of one job's folder, read only as the index has them."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.folder = folder
        self.index = index

    def __contains__(self, name: str) -> bool:
        return name in self.index.files

    def refused(self, name: str, what: str, record: int | None = None) -> EvidenceRefusedError:
        """The refusal of one of the files."""
        return refused(self.folder / name, what, record)

    def read(self, name: str) -> bytes:
        """Return a file's bytes.  Raises EvidenceRefusedError where they are not those that the index lists."""
        data = self.read_unlisted(name)
        self.require_listed(name, data)
        return data

    def read_unlisted(self, name: str) -> bytes:
        """Return a file's bytes as they are: for what names its own errors better than a hash can."""
        return (self.folder / name).read_bytes()

    def require_listed(self, name: str, data: bytes, record: int | None = None) -> None:
        """Raise EvidenceRefusedError unless a file's bytes are those that the index lists."""
        if hashlib.sha256(data).hexdigest() != self.index.files[name]:
            raise self.refused(name, f"is not the file that the coordinator listed in {INDEX}", record)

    def read_document(self, name: str) -> Any:
        """Return the value of a file of canonical JSON.  Raises EvidenceRefusedError for any other spelling."""
        try:
            return canonical.decode(self.read(name))
        except ValueError:
            raise self.refused(name, "is not canonical JSON") from None

    def read_hex(self, name: str, size: int) -> bytes:
        """Return the ``size`` bytes that a file holds in hex, lower case."""
        value = _hex(self.read(name), size)
        if value is None:
            raise self.refused(name, f"is not {size} bytes in hex")
        return value


def open_package(folder: Path, root: bytes | None) -> tuple[Package, Directory]:
    """Open a job's folder: the directory under its root, the index under the directory, and all files are there.

    ``root``: the fingerprint of the federation's Ed25519 key as its office said it (the key's SHA-256, 32 bytes);
    None to take the package's own key.
    Hashes are compared as files are read.  Raises EvidenceRefusedError.
    """
    present = {path.relative_to(folder).as_posix() for path in _files(folder)}
    for name in (INDEX, INDEX_SIGNATURE, DIRECTORY, DIRECTORY_SIGNATURE, ROOT):
        if name not in present:
            raise refused(folder / name, "is missing")
    data = (folder / INDEX).read_bytes()
    package = Package(folder, _read_index(folder, data))
    directory = _open_directory(package, root)
    signature = _hex((folder / INDEX_SIGNATURE).read_bytes(), 64) or b""
    try:
        verify(directory.identity(directory.coordinator), signed_index(data), signature)
    except SignatureRefusedError:
        raise package.refused(INDEX, f"is not what the coordinator signed in {INDEX_SIGNATURE}") from None
    listed = set(package.index.files) | {INDEX, INDEX_SIGNATURE}
    for name in sorted(listed - present):
        raise package.refused(name, "is missing")
    for name in sorted(present - listed):
        raise package.refused(name, f"is not listed in {INDEX}")
    return package, directory


def _read_index(folder: Path, data: bytes) -> Index:
    try:
        index = Index.model_validate_json(data)
    except ValidationError:
        raise refused(folder / INDEX, "is not the index of an evidence package") from None
    if index.encode() != data:
        raise refused(folder / INDEX, "is not canonical JSON")
    return index


def _open_directory(package: Package, root: bytes | None) -> Directory:
    """Open the directory; the index, whose signature is not checked yet, tells only which of the files to blame."""
    key = _hex(package.read_unlisted(ROOT), 32) or b""
    if root is not None and hashlib.sha256(key).digest() != root:
        raise package.refused(ROOT, "is another root than the fingerprint says")
    data = package.read_unlisted(DIRECTORY)
    signature = _hex(package.read_unlisted(DIRECTORY_SIGNATURE).strip(), 64) or b""
    try:
        return open_directory(data, signature, key)
    except DirectoryError as error:
        for name in (ROOT, DIRECTORY, DIRECTORY_SIGNATURE):
            if name in package:
                package.read(name)
        raise package.refused(DIRECTORY, f"the directory is refused: {error.what}") from None


def _hex(data: bytes, size: int) -> bytes | None:
    """The bytes that ``data`` spells in lower-case hex, None where it is another spelling or another length."""
    try:
        value = bytes.fromhex(data.decode("ascii"))
    except ValueError:
        return None
    return value if len(value) == size and value.hex().encode() == data else None
