"""A node's part in the linkage of an epoch (protocol.md, 3), as requester and as trustee.

Order, at the requester: read the data; receive the epoch's keys and compare them with the other
nodes'; have new identities evaluated (oprf mode); send pseudonyms; receive slots.  In register mode nothing is
sent in the place of pseudonyms: slots are found in the register's list (register.py).  No network: the
service carries the messages.  What the coordinator sees of a node are counts, blinded elements and, in
union mode, pseudonyms.
"""

import itertools
import os
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from veilmatch_crypto import (
    AgreementKey,
    BoundBatch,
    IdentityKey,
    OprfKey,
    Pool,
    Quota,
    Requester,
    Sealed,
    SealError,
    Trustee,
    ascending,
)
from veilmatch_node import epoch_keys
from veilmatch_node.answers import DataFolder
from veilmatch_node.epoch_keys import EpochKeys
from veilmatch_node.errors import LinkageError
from veilmatch_node.linked import KEY_BYTES, linked_tags, tags_of
from veilmatch_node.people import VALUE_BYTES, SlotTable
from veilmatch_node.pseudonyms import Blinded, Outputs, blind_batches, decode_untagged, hmac_rows, keyed
from veilmatch_node.register import RegisterSlots
from veilmatch_node.report import Report
from veilmatch_node.source import load
from veilmatch_node.store import OUTPUTS, TAG_KEY, NodeStore, StoredEpoch
from veilmatch_policy.directory import Directory
from veilmatch_policy.epoch import Confirmation, LinkageMode, OpenEpoch

_TRUSTEE_KEY = "oprf-key"  # the setting that holds this trustee's scalar; it outlives epochs
_TURN_SECONDS = 5.0  # a linkage whose coordinator broke it off needs a moment to notice
_SLOT_BYTES = 4  # of a slot on the wire: little-endian
_MOST_SLOTS = 2**31  # far more than there are people; a bitmap of it is 256 MiB


@dataclass(frozen=True)
class NodeKeys:
    """A node's long-lived keys, and how many identities it may have evaluated.

    ``quota`` is what its data officer signed.  ``officer`` is the officer's own key, only where one
    machine stands for all: then the node signs whatever number it needs.
    """

    identity: IdentityKey
    sealing: AgreementKey
    officer: IdentityKey | None
    quota: Quota | None = None

    def __repr__(self) -> str:
        return "NodeKeys(...)"


class NodeLinkage:
    """All linkages of one node."""

    def __init__(
        self,
        name: str,
        *,
        keys: NodeKeys,
        directory: Directory,
        store: NodeStore,
        data: DataFolder,
        modes: Collection[LinkageMode],
    ) -> None:
        """Take the node's parts; ``modes`` are the linkage modes that its department agrees to."""
        self.name = name
        self.keys = keys
        self.directory = directory
        self.store = store
        self._data = data
        self._modes = modes
        self._turn = threading.Lock()

    def require_mode(self, epoch: OpenEpoch) -> None:
        """Raise LinkageError for a mode that this node was not set to: the coordinator alone picks it."""
        if epoch.epoch.linkage not in self._modes:
            raise LinkageError(
                "linkage",
                f"{self.name} does not take part in {epoch.epoch.linkage} mode",
                f"link in {' or '.join(self._modes)} mode, or agree on another and set linkage at every node",
            )

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the one linkage that this node takes part in at a time.

        Two at once would blind the same new identities twice, and the trustees would count both.
        Raises LinkageError where another one does not end.
        """
        if not self._turn.acquire(timeout=_TURN_SECONDS):
            raise LinkageError(
                "linkage", f"another one is under way at {self.name}", "link when it has ended"
            )
        try:
            yield
        finally:
            self._turn.release()

    def draw_keys(self, epoch: OpenEpoch) -> dict[str, Sealed]:
        """First trustee: draw the epoch's secret and seal it to every node (3 step 3)."""
        if epoch.epoch.trustees[0] != self.name:
            raise LinkageError(
                "linkage", f"{self.name} is not the first trustee", "ask the one the directory names"
            )
        secret = epoch_keys.draw_secret()
        return {
            receiver: epoch_keys.seal_secret(
                secret,
                self.name,
                receiver,
                sequence=self.store.next_sequence(receiver),
                epoch=epoch,
                directory=self.directory,
                identity=self.keys.identity,
            )
            for receiver in epoch.epoch.nodes
        }

    def trustee(self, epoch: OpenEpoch) -> Trustee:
        """Trustee: the object that evaluates the epoch's batches (3 step 2)."""
        scalar = self.store.setting_once(_TRUSTEE_KEY, OprfKey.generate().to_bytes())
        return Trustee(
            self.name,
            self.keys.identity,
            OprfKey(scalar),
            epoch=epoch.context,
            trustees=epoch.epoch.trustees,
            identities=identities(self.directory),
            officers={name: self.directory.officer(name) for name in self.directory.nodes},
            ledger=self.store,
        )

    def tag_key(self) -> bytes:
        """The key of the tags of linked people (linked.py)."""
        return self.store.setting_once(TAG_KEY, os.urandom(KEY_BYTES))

    def outputs(self) -> Outputs:
        """What the trustees evaluated for this node, of all identities ever submitted."""
        untagged = self.store.setting(OUTPUTS)
        if untagged is not None:
            inputs, values = decode_untagged(untagged)
            self.store.divide_outputs(Outputs(inputs, values, tags_of(self.tag_key(), inputs)).encode())
        return Outputs.decode(self.store.outputs())

    def begin(self, epoch: OpenEpoch, pool: Pool) -> "EpochLinkage":
        """Requester: read the identifiers of the department's people; multiplications are done in ``pool``.

        Raises DataError, and LinkageError for the oprf mode without a quota.
        """
        if epoch.epoch.linkage == "oprf" and self.keys.quota is None and self.keys.officer is None:
            raise LinkageError(
                "linkage",
                f"no officer signed how many identities {self.name} has",
                "set keys.quota in its configuration",
            )
        with load(
            self._data.catalog,
            self._data.folder,
            needed=frozenset(),
            reference_date=epoch.epoch.reference_date,
            databases=self._data.databases,
        ) as department:
            return EpochLinkage(self, epoch, pool, department.inputs, department.report)


def identities(directory: Directory) -> Mapping[str, bytes]:
    """Each member's public identity key."""
    return {name: directory.identity(name) for name in directory.members}


@dataclass
class EpochLinkage:
    """One linkage at the requester; the methods are called in the order in which they stand."""

    node: NodeLinkage
    epoch: OpenEpoch
    pool: Pool
    inputs: pa.Array
    report: Report
    evaluations: int = 0  # identities that the trustees evaluate in this linkage
    _keys: EpochKeys | None = None
    _requester: Requester | None = None
    _requests: dict[int, tuple[Blinded, BoundBatch]] = field(default_factory=dict)
    _known: tuple[Outputs, pa.Array] | None = (
        None  # what earlier epochs evaluated, and the people's places in it
    )
    _evaluated: list[tuple[pa.Array, NDArray[np.uint8]]] = field(default_factory=list)
    _finished: list[bytes] = field(default_factory=list)  # digests of the requests behind them
    _tags: NDArray[np.uint64] | None = None  # the people's
    _order: NDArray[np.intp] | None = None

    @property
    def people(self) -> int:
        """Distinct people in the department's tables."""
        return len(self.inputs)

    def receive_keys(self, message: bytes) -> Confirmation:
        """Open the epoch's sealed keys and countersign them.  Raises LinkageError, StoreError for a replay."""
        store, sender = self.node.store, self.epoch.epoch.trustees[0]
        try:
            sealed = Sealed.from_bytes(message)
        except SealError as error:
            raise LinkageError(
                "linkage", f"the epoch's keys cannot be read ({error})", "link again"
            ) from None
        self._keys = epoch_keys.open_secret(
            sealed,
            self.node.name,
            last_sequence=store.last_sequence(sender),
            epoch=self.epoch,
            directory=self.node.directory,
            key=self.node.keys.sealing,
        )
        store.record_sequence(sender, sealed.sequence)
        return epoch_keys.confirm(self.node.name, self._keys, self.epoch, self.node.keys.identity)

    def compare_keys(self, confirmations: Sequence[Confirmation]) -> None:
        """Hold every node's confirmation against the keys received here.  Raises LinkageError."""
        epoch_keys.compare(confirmations, self._received(), self.epoch, self.node.directory)

    def requests(self) -> Iterator[BoundBatch]:
        """Oprf mode: bind batches of identities that were never evaluated; on disk before each is yielded."""
        store = self.node.store
        waiting = [Blinded.decode(data, self.pool) for data in store.requests()]
        sent = pa.array([data for batch in waiting for data in batch.inputs], pa.large_binary())
        known = self.node.outputs()
        places = known.places(self.inputs)
        self._known = known, places
        missing = self.inputs.filter(places.is_null())
        fresh = missing.filter(pc.invert(pc.is_in(missing, value_set=sent)))
        self.evaluations = len(sent) + len(fresh)
        requester = self._requester = self._bind(rows=len(known.inputs) + self.evaluations)
        for index, blinded in enumerate(itertools.chain(waiting, blind_batches(fresh, self.pool))):
            request = requester.request(index, blinded.elements)
            if index >= len(waiting):
                store.keep_request(request.digest, blinded.encode())
            self._requests[index] = (blinded, request)
            yield request

    def take(self, answer: BoundBatch) -> int:
        """Oprf mode: verify an evaluated batch, in the order of the requests, and take the blinds off.

        Returns how many identities it brought.  Raises CryptoError where the chain does not hold.
        """
        index = len(self._evaluated)
        if self._requester is None or index not in self._requests:
            raise LinkageError("linkage", "an OPRF answer came that nobody asked for", "link again")
        blinded, request = self._requests.pop(index)
        evaluated = self._requester.accept(request, answer)
        inputs = pa.array(blinded.inputs, pa.large_binary())
        values = blinded.state.finalize(evaluated, self.pool)[:, :VALUE_BYTES]
        self._evaluated.append((inputs, values.copy()))
        self._finished.append(request.digest)
        return len(blinded.inputs)

    def pseudonyms(self) -> bytes:
        """Union mode: return this epoch's pseudonyms, 32 bytes each, ascending (3 step 3)."""
        keys = self._received()
        if self.epoch.epoch.linkage == "oprf":
            linked = self._finish_evaluations()
        else:
            linked = hmac_rows(keys.link, self.inputs)
            self._tags = tags_of(self.node.tag_key(), self.inputs)
        sent = keyed(keys.pseudonym, linked)
        self._order, _ = ascending(sent)
        return sent[self._order].tobytes()

    def register_slots(self) -> RegisterSlots:
        """Register mode: end the evaluations and return what draws the slots or finds them (3 step 4)."""
        keys = self._received()
        return RegisterSlots(self.epoch, self.node.directory, keys, self.inputs, self._finish_evaluations())

    @property
    def slot_bytes(self) -> int:
        """How many bytes of slots come back."""
        return _SLOT_BYTES * self.people

    def assign(self, message: bytes, padded: int) -> None:
        """Union mode: keep the slots that came for the pseudonyms as they were sent (3 step 4).

        ``message``: 4 bytes a person, little-endian.  Raises LinkageError.
        """
        if self._order is None or len(message) != self.slot_bytes:
            raise LinkageError("linkage", "not one slot came for each person", "link again")
        if not self.people <= padded < _MOST_SLOTS:
            raise LinkageError("linkage", f"{padded} is no number of slots", "link again")
        slots = np.frombuffer(message, "<u4").astype(np.uint32)
        ordered = np.sort(slots)
        if self.people and (int(ordered[-1]) >= padded or (ordered[1:] == ordered[:-1]).any()):
            raise LinkageError("linkage", "slots came twice or beyond their number", "link again")
        by_person = np.empty(self.people, np.uint32)
        by_person[self._order] = slots
        self.keep(SlotTable(self.inputs, by_person), padded)

    def keep(self, table: SlotTable, padded: int) -> None:
        """Keep who has which slot, and tags of whom has one; in register mode the report then says how many have none.

        Raises StoreError where the epoch is linked at this node already: its slots are never drawn again.
        """
        if self._tags is None:
            raise LinkageError("linkage", "slots came before pseudonyms were sent", "link again")
        tags = linked_tags(self._tags, table.slots)
        self.node.store.save_epoch(
            self.epoch.context, StoredEpoch(self.epoch.statement, padded, table.encode()), tags
        )
        if self.epoch.epoch.slots == "register":
            self.report = replace(self.report, outside_register=table.outside)

    def _received(self) -> EpochKeys:
        if self._keys is None:
            raise LinkageError("linkage", "the epoch's keys did not come yet", "link again")
        return self._keys

    def _finish_evaluations(self) -> NDArray[np.uint8]:
        """Keep what was evaluated, forget the requests behind it, and return this department's people's outputs."""
        if self._known is None:
            raise LinkageError("linkage", "nobody's identities were evaluated yet", "link again")
        (known, places), self._known = self._known, None
        if self._evaluated:
            inputs = pa.concat_arrays([inputs for inputs, _ in self._evaluated])
            values = np.concatenate([values for _, values in self._evaluated])
            new = Outputs(inputs, values, tags_of(self.node.tag_key(), inputs))
            self.node.store.finish_requests(new.encode(), self._finished)
            behind = pc.add(new.places(self.inputs.filter(places.is_null())), len(known.inputs))
            places = pc.replace_with_mask(places, places.is_null(), behind.cast(pa.int32()))
            known = Outputs.joined([known, new])
        if places.null_count:
            raise LinkageError("linkage", "somebody's identity was not evaluated", "link again")
        found = places.to_numpy()
        self._tags = known.tags[found]
        linked: NDArray[np.uint8] = known.values[found]
        return linked

    def _bind(self, rows: int) -> Requester:
        keys = self.node.keys
        quota = keys.quota
        if quota is None and keys.officer is not None:
            quota = Quota.signed(keys.officer, requester=self.node.name, rows=rows)
        if quota is None or quota.rows < rows:
            # Before anything is blinded: a part of the identities would be counted and link nobody.
            raise LinkageError(
                "linkage",
                f"{self.node.name} has more new identities than its officer signed",
                "have a larger keys.quota signed",
            )
        return Requester(
            self.node.name,
            keys.identity,
            quota,
            epoch=self.epoch.context,
            trustees=self.epoch.epoch.trustees,
            identities=identities(self.node.directory),
        )
