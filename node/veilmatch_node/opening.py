"""The recipient's part in one manifest: what is recorded before each step of its opening (protocol.md, 4.6 and 4.7).

``recipient`` says what the steps are.  Here is what makes them safe to take up again after a crash or a lost
line: the state is on disk first, a product is only ever opened as it was the first time, and what the log
holds already is not written again.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from veilmatch_crypto import CiphertextError, CryptoError
from veilmatch_node.job_log import JobLog, OnRecord
from veilmatch_node.newest import Turn
from veilmatch_node.people import SlotTable
from veilmatch_node.recipient import Eligible, Recipient
from veilmatch_node.results import Found, JobFigures, encode_files, result_files, write_files
from veilmatch_node.states import State
from veilmatch_node.store import NodeStore
from veilmatch_policy.manifest import Manifest
from veilmatch_policy.result import content_digest


@dataclass(frozen=True)
class Opening:
    """One call's turn at a manifest's opening; ``known`` is what the log held of it before."""

    manifest: Manifest
    recipient: Recipient
    people: SlotTable
    store: NodeStore
    log: JobLog
    turn: Turn
    known: OnRecord
    require_still: Callable[[Manifest], None]

    def presented(self) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        """Yield whom each policy asks about, shape (padded,); on record before it leaves."""
        for policy, slots in self.recipient.presented.items():
            with self.turn.step():
                if policy not in self.known.presented:
                    self.log.presented(self.manifest, policy, int(np.count_nonzero(slots)))
            yield policy, slots

    @contextmanager
    def failing(self) -> Iterator[None]:
        """While products come: one that is refused, does not decrypt or fails its check ends this for good (4.5)."""
        try:
            yield
        except CryptoError:
            self.store.move(self.manifest.digest, State.FAILED)
            raise

    def admit(self, outcome: int, chunk: int, product: bytes) -> None:
        """Take a product that is to be decrypted.

        Raises CiphertextError, also where another one came at its place before.
        """
        with self.turn.step():
            self.recipient.admit(outcome, chunk, product)
            sha256 = hashlib.sha256(product).digest()
            if not self.store.take_product(self.manifest.digest, outcome, chunk, sha256):
                raise CiphertextError("a product came that is not the one of before")

    def take(self, outcome: int, chunk: int, product: bytes, words: NDArray[np.uint64]) -> None:
        """Read a decrypted product.  Raises CheckError where a check slot is wrong."""
        self.require_still(self.manifest)
        with self.turn.step():
            self.recipient.take(words)
            if (outcome, chunk) not in self.known.opened:
                self.log.opened(self.manifest, outcome, chunk, product)

    def start_circuits(self) -> None:
        """Record, before anything of them is opened, that the circuits begin and what they count (5.5).

        Raises JobRefusedError where they began before, or count what was counted in this epoch before.
        """
        manifest = self.manifest
        counts = [content_digest(policy) for policy in manifest.policies if policy.reveal == "count"]
        with self.turn.step():
            self.store.start_circuits(manifest.digest, bytes.fromhex(manifest.draft.epoch), counts)

    def deliver(
        self, folder: Path, results: Mapping[int, Eligible], figures: JobFigures, households: int | None
    ) -> None:
        """Write the results, by the policy's number, for this department; on record before, once a manifest.

        Raises RuleError where an approval was revoked, JobRefusedError where the job is over, or ``figures`` are
        not complete.
        """
        self.require_still(self.manifest)
        manifest = self.manifest
        files = [
            result_files(
                manifest,
                manifest.policies[number],
                Found(self.people.identifiers(eligible.slots), eligible.labels),
                figures,
                households,
            )
            for number, eligible in results.items()
        ]
        with self.turn.step():
            self.store.require(manifest.digest, State.DELIVERED)
            for number in results:
                if manifest.policies[number].name not in self.known.delivered:
                    self.log.delivered(manifest, number)
            written = encode_files(files)
            self.store.deliver(manifest.digest, written)  # from here on a crash leaves nothing out
            write_files(folder, written)
            self.store.written(manifest.digest)
