"""Four departments to attack, an active coordinator's tools, and one who leads a job by hand."""

import os
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import gmpy2
import pytest
from fakes.federation import COORDINATOR, KEY_BITS, Federation, Given, csv_text
from structlog.testing import capture_logs

from veilmatch_coordinator.errors import CoordinatorError, NodeFailedError
from veilmatch_crypto import AgreementKey, PublicKey
from veilmatch_policy import canonical
from veilmatch_policy.clock import utc_now
from veilmatch_policy.declarations import declarations_of
from veilmatch_policy.epoch import reopen_epoch
from veilmatch_policy.manifest import PartyKeys, encode_manifest, signed_contribution, signed_keys
from veilmatch_policy.planning import derive_plan
from veilmatch_policy.policy import parse_policy
from veilmatch_policy.questions import ask

NAMES = ("housing", "police", "social", "tax")
CONTRIBUTORS = ("housing", "police", "tax")
RECIPIENT = "social"
PEOPLE = 240  # at least 6 ciphertexts of 40 people

CATALOG = """
department: {name}
tables:
  people:
    source: people.csv
    id: number
    identifier: opaque
    columns:
      v_{name}: {{type: integer, release: open, missing: 0}}
"""
POLICY = """
policy: aid
recipient: social
among: "v_social >= 0"
among_at_most: 240
conditions:
  rent: {department: housing, where: "v_housing < 8"}
  here: {department: police, where: "v_police < 8"}
  wage: {department: tax, where: "v_tax < 8"}
"""


def table(name, rows=PEOPLE, value=lambda number: number % 10):
    """A department of ``rows`` people."""
    cells = [(f"p{number}", str(value(number))) for number in range(rows)]
    return Given(CATALOG.format(name=name), {"people.csv": csv_text(("number", f"v_{name}"), cells)})


def make(home, names=NAMES, **options):
    """A federation of departments of these names."""
    return Federation(home, {name: table(name) for name in names}, **options)


def fails(federation, tap, run=None):
    """Run the policy with a tap; the error with which it ended, and what was logged meanwhile."""
    federation.network.passed.clear()
    with (
        capture_logs() as logs,
        federation.tapped(tap),
        pytest.raises(CoordinatorError) as caught,
    ):
        (run or (lambda: federation.run(POLICY)))()
    federation.network.wait()
    return caught.value, logs


def refused(federation, node=RECIPIENT):
    """A node's refusals since the record was cleared: (code, public text).

    Others may refuse as well, while the job is being closed under their hands.
    """
    return [(each.content.code, each.content.text) for each in federation.network.sent("refused", node=node)]


def split(data, size=KEY_BITS // 4):
    """Ciphertexts as numbers."""
    return [gmpy2.mpz.from_bytes(data[at : at + size], "big") for at in range(0, len(data), size)]


def join(numbers, size=KEY_BITS // 4):
    return b"".join(number.to_bytes(size, "big") for number in numbers)


def job_key(federation):
    """The recipient's public key of the job at hand, as everybody sees it."""
    [encoded] = {e.content.paillier for e in federation.network.sent("job_keys") if e.content.paillier}
    return PublicKey.from_bytes(encoded, KEY_BITS)


def signed_again(federation, passing, ciphertexts):
    """A node that contributes other ciphertexts than it made: changed, and signed with its own key."""
    part = passing.content
    digest = federation.network.sent("contribute", node=passing.node)[-1].content.manifest_sha256
    part.ciphertexts = ciphertexts
    part.signature = federation.nodes[passing.node].keys.identity.sign(
        signed_contribution(digest, part.outcome, part.chunk, ciphertexts)
    )


class ActiveCoordinator:
    """Leads a job by hand up to the manifest, honestly or not; every step is on the nodes' own streams."""

    def __init__(self, federation, conversation, *policies):
        self.federation = federation
        self.conversation = conversation
        self.sources = [policy.encode() for policy in policies]
        parsed = [parse_policy(source, "policy") for source in self.sources]
        stored = federation.store.newest_epoch()
        epoch = reopen_epoch(stored.statement)
        self.epoch = epoch.context
        day = epoch.epoch.reference_date
        asked = {question.department for question in ask(parsed, day)} | {parsed[0].recipient}
        asked |= {policy.household.department for policy in parsed if policy.household is not None}
        entries = tuple(self.prepare(name).declaration() for name in sorted(asked))
        plan = derive_plan(
            parsed,
            declarations_of(entries, parsed, day),
            reference_date=day,
            dealers=federation.directory.may_deal,
        )
        draft = federation.jobs._drafting._draft(plan, entries, epoch, stored, KEY_BITS, os.urandom(16).hex())
        self.draft = draft.model_dump(mode="json")
        self.agreement = AgreementKey.generate()
        self.tasks, self.keys = {}, {}

    def drafted(self):
        return canonical.encode(self.draft)

    def prepare(self, name):
        """Begin one node's part: policies and epoch are sent, its declaration is on its way."""
        return self.conversation.prepare(name, self.sources, self.epoch, utc_now())

    def ask(self, name, draft=None):
        """Send a draft to one node and take its keys; raises NodeFailedError where it refuses."""
        self.tasks[name] = self.prepare(name)
        self.tasks[name].declaration()
        self.keys[name] = self.tasks[name].keys(draft or self.drafted(), ()).keys

    def ask_all(self):
        for name in self.draft["participants"]:
            self.ask(name)

    def own_keys(self, agreement=None):
        key = (agreement or self.agreement).public
        signature = self.federation.identity.sign(signed_keys(self.drafted(), COORDINATOR, key, b""))
        return PartyKeys(name=COORDINATOR, agreement=key.hex(), signature=signature.hex())

    def manifest(self, changed=None, draft=None):
        """The manifest's bytes, with some parties' keys or the draft changed."""
        keys = {**self.keys, COORDINATOR: self.own_keys(), **(changed or {})}
        return encode_manifest(draft or self.drafted(), keys)

    def accept_all(self):
        """Have every node accept the honest manifest; its hash."""
        data = self.manifest()
        [digest] = {task.accept(data) for task in self.tasks.values()}
        return digest

    def presented(self, digest, name=RECIPIENT):
        """Whom a node asks about when it is asked to open: the bitmap of the first policy."""
        return self.conversation.open(name, digest).presented(0, 1 << 20, 0)[0]

    def contributed(self, name, digest):
        """What a node contributes when it is asked."""
        return list(self.conversation.contribute(name, digest, 0).contributions())


@contextmanager
def led(federation, *policies):
    """An active coordinator with streams of its own; without ``policies`` it is about `POLICY`."""
    federation.network.passed.clear()
    try:
        with federation.network.conversation() as conversation:
            yield ActiveCoordinator(federation, conversation, *(policies or (POLICY,)))
    finally:
        federation.network.wait()


@contextmanager
def refusal(match="."):
    """The body ends with a node's refusal."""
    with pytest.raises(NodeFailedError, match=match) as caught:
        yield caught


def rewrite(node, value):
    """Give a department other data, as a clerk who exports again."""
    rows = [(f"p{number}", str(value)) for number in range(PEOPLE)]
    (node.folder / "people.csv").write_text(csv_text(("number", f"v_{node.name}"), rows))


def later(days):
    return (datetime.now(UTC) + timedelta(days=days)).replace(microsecond=0)
