"""The coordinator's part in the linkage of an epoch (protocol.md, 3).

It relays: sealed keys from the first trustee to the nodes, confirmations among the nodes, blinded
batches from each node through the trustees and back.  Union mode: then it has every node's pseudonyms,
draws the slots, and tells each node its own.  Register mode: it has the register draw them, keeps the
claims, and relays the list to the other nodes.  It never sees an identity, an output of the OPRF or a key.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar

from veilmatch_coordinator.carrying import carry
from veilmatch_coordinator.client import Conversation, LinkTask, Nodes, TrusteeTask
from veilmatch_coordinator.errors import LinkageError
from veilmatch_coordinator.parallel import in_parallel
from veilmatch_coordinator.slots import VALUE_BYTES, assign_slots, check_register, read_pseudonyms
from veilmatch_coordinator.store import CoordinatorStore, StoredEpoch
from veilmatch_policy.clock import Clock, utc_now
from veilmatch_policy.epoch import OpenEpoch

_T = TypeVar("_T")

Progress = Callable[[str, str, int, int], None]  # stage, department, done, total


@dataclass(frozen=True)
class Linkage:
    """A finished linkage: the number of slots, and how many people each node brought."""

    padded: int
    people: Mapping[str, int]
    seconds: float


@dataclass(frozen=True)
class _Drawn:
    """An epoch's slots: what the coordinator keeps of them, and how a node hears of its own."""

    padded: int
    slots: Mapping[str, bytes]
    claims: bytes | None
    tell: Callable[[str, LinkTask], None]


def link(
    epoch: OpenEpoch,
    signature: bytes,
    nodes: Nodes,
    store: CoordinatorStore,
    progress: Progress,
    clock: Clock = utc_now,
) -> Linkage:
    """Link one epoch.

    Raises LinkageError, or NodeFailedError naming the node that refused or stopped answering.
    """
    started = time.monotonic()
    with nodes.conversation() as conversation:
        linking = _Linking(epoch, signature, conversation, progress, clock())
        linking.confirm_keys()
        register = epoch.epoch.register
        drawn = linking.union_slots() if register is None else linking.register_slots(register)
        seconds = time.monotonic() - started
        # On disk before any node hears of its slots: they are never drawn again for this epoch.
        store.save_epoch(
            StoredEpoch(epoch.statement, drawn.padded, seconds, linking.people, drawn.slots, drawn.claims)
        )
        linking.all_at_once(drawn.tell)
    for name, count in linking.people.items():
        progress("link", name, count, count)
    return Linkage(drawn.padded, linking.people, time.monotonic() - started)


class _Linking:
    """One linkage's conversation; the methods are called in the order in which they stand."""

    def __init__(
        self,
        epoch: OpenEpoch,
        signature: bytes,
        conversation: Conversation,
        progress: Progress,
        now: datetime,
    ) -> None:
        """Have every node read its data; ``people`` is then how many distinct people each has."""
        self._epoch = epoch
        self._signature = signature
        self._conversation = conversation
        self._progress = progress
        self._tasks = {
            name: conversation.link(name, epoch.statement, signature, now) for name in epoch.epoch.nodes
        }
        self.people = self.all_at_once(lambda _, task: task.ready())
        for name, count in self.people.items():
            progress("link", name, 0, count)

    def all_at_once(self, step: Callable[[str, LinkTask], _T]) -> dict[str, _T]:
        """Do a step at every node, side by side; the first failure ends all."""
        calls = {name: partial(step, name, task) for name, task in self._tasks.items()}
        return in_parallel(calls, on_failure=self._conversation.abort)

    def confirm_keys(self) -> None:
        """Relay the first trustee's keys, and every node's confirmation to all (step 3)."""
        first = self._epoch.epoch.trustees[0]
        sealed = self._conversation.draw_keys(first, self._epoch.statement, self._signature)
        if set(sealed) != set(self._tasks):
            raise LinkageError(f"linkage: {first} did not seal the keys to every node; check its release")
        confirmed = self.all_at_once(lambda name, task: task.deliver_keys(sealed[name]))
        for task in self._tasks.values():
            task.send_confirmations(list(confirmed.values()))

    def union_slots(self) -> _Drawn:
        """Collect every node's pseudonyms and draw the slots of their union (step 4)."""
        trustees = self._trustees()

        def collect(name: str, task: LinkTask) -> bytes:
            self._evaluate(trustees, name, task, last="pseudonyms")
            return task.pseudonyms(VALUE_BYTES * self.people[name])

        collected = self.all_at_once(collect)
        pseudonyms = {name: read_pseudonyms(name, data) for name, data in collected.items()}
        for name, sent in pseudonyms.items():
            if len(sent) != self.people[name]:
                raise LinkageError(
                    f"linkage: {name} sent another number of pseudonyms than people; check its release"
                )
        assignment = assign_slots(pseudonyms)
        slots = {name: assignment.slots[name].astype("<u4").tobytes() for name in self._tasks}
        padded = assignment.padded
        return _Drawn(padded, slots, None, lambda name, task: task.send_slots(slots[name], padded))

    def register_slots(self, register: str) -> _Drawn:
        """Have the register draw the slots once the people of all nodes are evaluated (step 4)."""
        trustees = self._trustees()
        self.all_at_once(lambda name, task: self._evaluate(trustees, name, task, last="people_evaluated"))
        lists = self._tasks.pop(register).draw_slots(self.people[register])
        check_register(register, lists, self.people[register])
        statement, values, claims = lists
        return _Drawn(statement.padded, {}, claims, lambda _, task: task.send_register(statement, values))

    def _trustees(self) -> list[TrusteeTask]:
        epoch = self._epoch.epoch
        if epoch.linkage != "oprf":
            return []
        return [
            self._conversation.trustee(name, self._epoch.statement, self._signature)
            for name in epoch.trustees
        ]

    def _evaluate(self, trustees: Sequence[TrusteeTask], name: str, task: LinkTask, *, last: str) -> None:
        """Carry a node's batches through the trustees until it says ``last`` (step 2)."""
        people, evaluated = self.people[name], 0

        def told(count: int) -> None:
            nonlocal evaluated
            evaluated += count
            self._progress("link", name, min(evaluated, people), people)

        carry(task, trustees, last=last, told=told)
