"""What an auditor gets of a job: a folder of files, and the coordinator's list of their hashes (protocol.md, 7).

Enough to multiply again and compare; nothing here opens anything: never mask keys, B's words, slots or any
private key.

    index.json, index.json.sig        the list: SHA-256 by file; Ed25519 by the coordinator, hex
    federation.toml, federation.toml.sig, root.pub    the directory, its signature and the root's key, hex
    epoch.json, epoch.json.sig        the epoch's statement; Ed25519 by the coordinator, hex
    manifest.json                     the manifest's exact bytes
    approvals.json                    of the departments' officers: [{"department", "statement", "signature"}]
    contributions/NAME/O-C.bin, B/O-C.bin, product/O-C.bin    ciphertexts by outcome and chunk
    digests.json                      their makers' signatures: [{"file", "sha256", "signature"}]
    logs/NAME.jsonl                   what each party recorded of the job
    report.json                       the coordinator's copies of the results of a job that gave some
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, StringConstraints

from veilmatch_crypto import IdentityKey, encode_tuple
from veilmatch_evidence.withholding import to_disk
from veilmatch_policy import canonical

INDEX: Final = "index.json"
INDEX_SIGNATURE: Final = "index.json.sig"
DIRECTORY: Final = "federation.toml"
DIRECTORY_SIGNATURE: Final = "federation.toml.sig"
ROOT: Final = "root.pub"
EPOCH: Final = "epoch.json"
EPOCH_SIGNATURE: Final = "epoch.json.sig"
MANIFEST: Final = "manifest.json"
APPROVALS: Final = "approvals.json"
DIGESTS: Final = "digests.json"
REPORT: Final = "report.json"

_JOURNAL = "journal"  # while the folder is filled
_LAST = frozenset({DIGESTS, INDEX, INDEX_SIGNATURE})  # written when all others are there
_SYNCS = 16  # at once: a file system puts those that wait for its journal on disk together

Trust = Literal["one-machine", "federation"]  # whether one person ran all parties, or each its own
Status = Literal["complete", "ended"]  # whether there are results, and every party's records

Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Signature = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$")]


def contribution_name(party: str, outcome: int, chunk: int) -> str:
    """Where a contributor's ciphertexts of a chunk stand."""
    return f"contributions/{party}/{outcome}-{chunk}.bin"


def blank_name(outcome: int, chunk: int) -> str:
    """Where the coordinator's own ciphertexts B of a chunk stand."""
    return f"B/{outcome}-{chunk}.bin"


def product_name(outcome: int, chunk: int) -> str:
    """Where the product of a chunk stands."""
    return f"product/{outcome}-{chunk}.bin"


def log_name(party: str) -> str:
    """Where a party's records stand."""
    return f"logs/{party}.jsonl"


class Index(BaseModel):
    """The coordinator's statement of what a package holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["veilmatch/1/evidence"] = "veilmatch/1/evidence"
    job: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    trust: Trust
    status: Status
    files: Mapping[str, Hash]  # SHA-256 by name, of all files but the index and its signature

    def encode(self) -> bytes:
        """Return the canonical bytes that the coordinator signs."""
        return canonical.encode(self.model_dump(mode="json"))


class Digest(BaseModel):
    """A chunk's hash and the signature that its maker gave with it.

    A contributor signs its chunk, the coordinator B and the product together (veilmatch_policy.manifest).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    sha256: Hash
    signature: Signature


def signed_index(index: bytes) -> bytes:
    """Return what the coordinator signs for a package."""
    return encode_tuple("veilmatch/1/evidence", index)


class PackageWriter:
    """Fills a job's folder, file by file; one thread at a time.

    Every method raises OSError where the disk does not take a file, FileExistsError where it is there already:
    evidence is written once.  Until ``finish`` a journal in the folder says which files are whole, and who
    signed them: after a crash ``resume`` goes on from there.  What was written survives a power cut from ``sync``
    on; of a file that did not, ``resume`` finds another hash than the journal's, and nothing of it stays.
    """

    def __init__(self, folder: Path, job: str) -> None:
        """Make the folder, readable by its owner only; ``job`` is the job's name, 32 hex digits."""
        self._begin(folder, job)
        folder.mkdir(parents=True, mode=0o700)

    def _begin(self, folder: Path, job: str) -> None:
        self._folder = folder
        self._job = job
        self._files: dict[str, str] = {}
        self._digests: dict[str, Digest] = {}
        self._unsynced: set[str] = set()
        self.finished = False
        """Whether the index is signed: nothing comes after, and all that is left is to `publish`."""

    @classmethod
    def resume(cls, folder: Path, job: str) -> Self:
        """Take up a folder that was not published; what was not written to its end is removed."""
        self = cls.__new__(cls)
        self._begin(folder, job)
        if (folder / INDEX_SIGNATURE).exists() and not (folder / _JOURNAL).exists():
            self.finished = True
            return self
        for line in _lines(folder / _JOURNAL):
            entry = Digest.model_construct(**json.loads(line))
            path = folder / entry.file
            if entry.file in _LAST or not path.is_file():
                continue
            if hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256:
                self._take(entry)
        for path in [path for path in folder.rglob("*") if path.is_file()]:
            name = path.relative_to(folder).as_posix()
            if name != _JOURNAL and name not in self._files:
                path.unlink()
        return self

    @property
    def files(self) -> AbstractSet[str]:
        """The names of the files that are there."""
        return self._files.keys()

    def put(self, name: str, data: bytes, signature: str = "") -> str:
        """Keep a file under one of the names above, with its maker's signature (hex).  Returns its SHA-256, hex."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        entry = Digest.model_construct(
            file=name, sha256=hashlib.sha256(data).hexdigest(), signature=signature
        )
        file = path.open("xb")
        try:
            with file:
                file.write(data)
            _append(self._folder / _JOURNAL, canonical.encode(entry.model_dump()) + b"\n")
        except OSError:
            path.unlink()  # what the index does not list must not lie there
            raise
        self._take(entry)
        return entry.sha256

    def _take(self, entry: Digest) -> None:
        self._files[entry.file] = entry.sha256
        self._unsynced.add(entry.file)
        if entry.signature:
            self._digests[entry.file] = entry

    def drop(self, name: str) -> None:
        """Remove a file; nothing where it is not there."""
        if name in self._files:
            (self._folder / name).unlink()
            del self._files[name]
            self._unsynced.discard(name)
            self._digests.pop(name, None)

    def drop_partial(self, contributors: Mapping[int, Sequence[str]]) -> None:
        """Remove B and the product of every chunk of which not all is there, as after a crash between two files.

        ``contributors`` are by outcome.  What cannot be multiplied again shows nothing.
        """
        for outcome, chunk in set(self._combined()):
            pair = blank_name(outcome, chunk), product_name(outcome, chunk)
            factors = (contribution_name(party, outcome, chunk) for party in contributors[outcome])
            if not self._files.keys() >= {*pair, *factors}:
                for name in pair:
                    self.drop(name)

    def _combined(self) -> Iterator[tuple[int, int]]:
        """(outcome, chunk) of every B and every product that is there."""
        for name in self._files:
            kind, _, rest = name.partition("/")
            if kind in {"B", "product"}:
                outcome, chunk = rest.removesuffix(".bin").split("-")
                yield int(outcome), int(chunk)

    def contribution(self, party: str, outcome: int, chunk: int, ciphertexts: bytes, signature: bytes) -> str:
        """Keep a contribution with its maker's signature.  Returns its SHA-256, hex."""
        return self._chunk(contribution_name(party, outcome, chunk), ciphertexts, signature)

    def combined(
        self, outcome: int, chunk: int, blank: bytes, product: bytes, signature: bytes
    ) -> tuple[str, str]:
        """Keep B and the product of a chunk, signed together by the coordinator.  Returns their SHA-256, hex."""
        return (
            self._chunk(blank_name(outcome, chunk), blank, signature),
            self._chunk(product_name(outcome, chunk), product, signature),
        )

    def sync(self) -> None:
        """Have all that was written so far survive a power cut."""
        names = [*self._unsynced, _JOURNAL]
        paths = [self._folder / name for name in names]
        with ThreadPoolExecutor(_SYNCS, thread_name_prefix="evidence") as pool:
            list(pool.map(to_disk, paths))
        for folder in {self._folder, *self._folder.parents[:2], *(path.parent for path in paths)}:
            to_disk(folder)
        self._unsynced.clear()

    def finish(self, identity: IdentityKey, trust: Trust, status: Status) -> None:
        """Write the list of signatures, then the index and the coordinator's signature: nothing comes after."""
        self.put(DIGESTS, canonical.encode([entry.model_dump() for entry in self._digests.values()]))
        index = Index(job=self._job, trust=trust, status=status, files=self._files).encode()
        self.put(INDEX, index)
        self.put(INDEX_SIGNATURE, identity.sign(signed_index(index)).hex().encode())
        self.sync()
        (self._folder / _JOURNAL).unlink()
        to_disk(self._folder)
        self.finished = True

    def publish(self, path: Path) -> None:
        """Give the finished folder its place, in one step that survives a power cut.

        Its new parent is there.
        """
        self._folder.rename(path)
        for folder in (*path.parents[:3], self._folder.parent):  # the first job makes them
            to_disk(folder)

    def _chunk(self, name: str, data: bytes, signature: bytes) -> str:
        return self.put(name, data, signature.hex())


def _lines(journal: Path) -> list[bytes]:
    """The whole lines of a journal; of one that a crash cut off nothing stays."""
    if not journal.exists():
        return []
    data = journal.read_bytes()
    *whole, rest = data.split(b"\n")
    os.truncate(journal, len(data) - len(rest))
    return whole


def _append(journal: Path, line: bytes) -> None:
    """Add a line, or nothing of it where the disk does not take it all."""
    with journal.open("ab", buffering=0) as file:
        size = file.tell()
        try:
            while line:
                line = line[file.write(line) :]
        except OSError:
            file.truncate(size)
            raise
