"""The coordinator's part in the linkage of an epoch (protocol.md, 3).

It relays: sealed keys from the first trustee to the nodes, confirmations among the nodes, blinded
batches from each node through the trustees and back.  Then it has every node's pseudonyms, draws
the slots, and tells each node its own.  It never sees an identity, an output of the OPRF or a key.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from veilmatch_coordinator.client import Batch, LinkTask, Nodes, TrusteeTask
from veilmatch_coordinator.errors import LinkageError
from veilmatch_coordinator.parallel import in_parallel
from veilmatch_coordinator.slots import PSEUDONYM_BYTES, assign_slots, read_pseudonyms
from veilmatch_coordinator.store import CoordinatorStore, StoredEpoch
from veilmatch_policy.epoch import OpenEpoch

_T = TypeVar("_T")

Progress = Callable[[str, str, int, int], None]  # stage, department, done, total


@dataclass(frozen=True)
class Linkage:
    """A finished linkage: the number of slots, and how many people each node brought."""

    padded: int
    people: Mapping[str, int]
    seconds: float


def link(
    epoch: OpenEpoch, signature: bytes, nodes: Nodes, store: CoordinatorStore, progress: Progress
) -> Linkage:
    """Link one epoch.

    Raises LinkageError, or NodeFailedError naming the node that refused or stopped answering.
    """
    started = time.monotonic()
    names = epoch.epoch.nodes
    with nodes.conversation() as conversation:
        tasks = {name: conversation.link(name, epoch.statement, signature) for name in names}

        def all_at_once(step: Callable[[str, LinkTask], _T]) -> dict[str, _T]:
            calls = {name: partial(step, name, task) for name, task in tasks.items()}
            return in_parallel(calls, on_failure=conversation.abort)

        people = all_at_once(lambda _, task: task.ready())
        for name, count in people.items():
            progress("link", name, 0, count)

        sealed = conversation.draw_keys(epoch.epoch.trustees[0], epoch.statement, signature)
        if set(sealed) != set(names):
            raise LinkageError(
                f"linkage: {epoch.epoch.trustees[0]} did not seal the keys to every node; check its release"
            )
        confirmed = all_at_once(lambda name, task: task.deliver_keys(sealed[name]))
        for task in tasks.values():
            task.send_confirmations(list(confirmed.values()))

        relay = _Relay(
            [conversation.trustee(name, epoch.statement, signature) for name in epoch.epoch.trustees]
            if epoch.epoch.linkage == "oprf"
            else []
        )

        def collect(name: str, task: LinkTask) -> bytes:
            evaluated = 0
            for batch in task.batches():
                task.answer(relay.evaluate(batch))
                evaluated += len(batch.elements) // 32
                progress("link", name, min(evaluated, people[name]), people[name])
            return task.pseudonyms(PSEUDONYM_BYTES * people[name])

        collected = all_at_once(collect)
        pseudonyms = {name: read_pseudonyms(name, data) for name, data in collected.items()}
        for name in names:
            if len(pseudonyms[name]) != people[name]:
                raise LinkageError(
                    f"linkage: {name} sent another number of pseudonyms than people; check its release"
                )
        assignment = assign_slots(pseudonyms)
        seconds = time.monotonic() - started
        # On disk before any node hears of its slots: they are never drawn again for this epoch.
        slots = {name: assignment.slots[name].astype("<u4").tobytes() for name in names}
        store.save_epoch(StoredEpoch(epoch.statement, assignment.padded, seconds, slots))
        all_at_once(lambda name, task: task.send_slots(slots[name], assignment.padded))
    for name, count in people.items():
        progress("link", name, count, count)
    return Linkage(assignment.padded, people, time.monotonic() - started)


class _Relay:
    """Carries batches through the trustees; each trustee has one stream, used by one thread at a time."""

    def __init__(self, trustees: list[TrusteeTask]) -> None:
        self._trustees = [(trustee, threading.Lock()) for trustee in trustees]

    def evaluate(self, batch: Batch) -> Batch:
        for trustee, lock in self._trustees:
            with lock:
                batch = trustee.evaluate(batch)
        return batch
