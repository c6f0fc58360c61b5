"""What holds in a federation after every operation, whatever went wrong in it.

Each check reads what parties keep (stores, logs, files) and what they sent, as it left honest senders; none of
it asks the code under test what it meant to do.
"""

import csv
import hashlib
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

from fakes.federation import COORDINATOR
from simulation.faults import CHANGES, FORGE, LINKAGE, UNPROTECTED, Fault
from simulation.network import TASKS, Sent
from simulation.people import Question
from simulation.world import SimulatedNode, World

from veilmatch_coordinator.queue import State
from veilmatch_evidence.errors import EvidenceRefusedError
from veilmatch_evidence.replay import replay
from veilmatch_evidence.verify import verify
from veilmatch_policy import canonical

_YEAR = timedelta(days=365)
_SECRET = "secret-"  # what every identifier begins with


class ViolatedError(AssertionError):
    """Something that must always hold does not."""


def holds(condition: object, what: str, *about: object) -> None:
    if not condition:
        raise ViolatedError(" ".join([what, *map(str, about)]))


class Invariants:
    """Those of one federation; remembers what it has seen."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.verified = 0
        self.refused = 0
        self.compared = 0  # results that were held against the plain answer
        self._ended: dict[str, State] = {}
        self._tainted: set[str] = set()  # jobs whose results somebody changed where only TLS protects them
        self._epoch_tainted = False
        self._may_be_refused = False
        self._seen = 0  # faults
        self._read = 0  # messages
        self._first: dict[int, Sent] = {}  # by stream: the task
        self._manifests: dict[str, Mapping] = {}  # by their hash, hex
        self._contributed: dict[tuple, bytes] = {}
        self._residues: dict[str, dict[int, tuple]] = defaultdict(dict)
        self._keys: dict[str, tuple] = {}
        self._presented: dict[tuple, dict[int, bytearray]] = defaultdict(lambda: defaultdict(bytearray))
        self._counts: Counter = Counter()
        self._streams: dict[tuple, set[int]] = defaultdict(set)
        self._packages: set[Path] = set()
        self.concluded: set[str] = set()  # manifests, hex

    def check(self, happened: Sequence[Fault] = ()) -> None:
        """Hold everything against what is known; ``happened`` went wrong in the last operation."""
        self._take_taints(happened)
        self._messages()
        self._submissions()
        self._results()
        self._evidence()
        for node in self.world.nodes.values():
            self._node(node)
        self._coordinator()
        holds(not (left := self.world.left_over()), "threads are left over:", left)

    def check_end(self) -> None:
        """After all manifests have expired and everybody is back: nothing of any job is left but its record."""
        self.check()
        for name, node in self.world.nodes.items():
            for table in ("chunks", "products"):
                holds(not _count(node.disk, table), name, "keeps", table, "of jobs that are over")
            left = _rows(node.disk, "SELECT state FROM jobs WHERE secrets IS NOT NULL OR answers IS NOT NULL")
            holds(not left, name, "keeps keys or answers of a job that is over:", left)
        office = self.world.office
        for table in ("combined", "closings"):
            holds(not _count(office.disk, table), "the coordinator keeps", table, "of jobs that are over")
        left = _rows(office.disk, "SELECT state FROM jobs WHERE state <> 'closed' OR presented IS NOT NULL")
        holds(not left, "the coordinator has jobs that never close:", left)
        unfinished = office.evidence.with_name(f"{office.evidence.name}.unfinished")
        holds(not unfinished.exists() or not any(unfinished.iterdir()), "evidence is never finished")
        if not self._may_be_refused:
            if len(self._packages) > 1:
                verify(office.evidence)  # no party has two histories over all jobs
            for package in sorted(self._packages)[:1]:
                if package.parent.name < "4":  # some, by chance: to multiply again costs as much as the job
                    replay(office.evidence / package.relative_to(package.parents[2]).parent)

    def _take_taints(self, happened: Sequence[Fault]) -> None:
        changed = [fault for fault in happened if fault.kind in CHANGES and fault.where in UNPROTECTED]
        if any(fault.where in LINKAGE for fault in changed):
            self._epoch_tainted = True
        if changed or self._epoch_tainted:
            self._tainted |= {job for job in self.world.jobs if job not in self._ended}
        # What a wrong party did is to be seen in evidence; and what a node sends of its log nothing but TLS protects.
        if any(f.kind == FORGE or (f.kind in CHANGES and f.where == "log") for f in happened):
            self._may_be_refused = True

    def linked(self) -> None:
        """A linkage came to its end, and nobody changed it."""
        self._epoch_tainted = False

    # What was sent.

    def _messages(self) -> None:
        sent = self.world.network.sent
        while self._read < len(sent):
            message = sent[self._read]
            self._read += 1
            if message.body in TASKS and not message.from_node:
                self._first.setdefault(message.stream, message)
            if message.from_node:
                self._from_node(message, self._task_digest(message))
            elif message.body == "manifest":
                digest = hashlib.sha256(message.content.manifest).hexdigest()
                self._manifests[digest] = canonical.decode(message.content.manifest)
            elif message.body == "conclude":
                self.concluded.add(self._task_digest(message))

    def _task_digest(self, message: Sent) -> str:
        """The manifest that a stream is about."""
        first = self._first.get(message.stream)
        return "" if first is None else getattr(first.content, "manifest_sha256", b"").hex()

    def _from_node(self, message: Sent, manifest: str) -> None:
        content, node = message.content, message.node
        match message.body:
            case "refused":
                holds(
                    "\n" not in content.text and content.text,
                    "a refusal is not one line:",
                    repr(content.text),
                )
                holds(content.code != "internal", node, "met an internal error:", content.text)
                holds(_SECRET not in content.text, "a refusal names somebody:", content.text)
            case "job_keys":
                for key in (content.agreement, content.paillier[:256]):
                    if key:
                        holds(key.hex() not in self._keys, "a key is used twice, by", node)
                        self._keys[key.hex()] = (node, message.stream)
            case "accepted":
                self._once("accepted", node, content.manifest_sha256.hex())
            case "seeds":
                self._once("dealt", node, manifest)
            case "contribution":
                self._contribution(node, manifest, content)
            case "presented":
                self._presented[node, manifest, content.policy][message.stream] += content.bitmap
            case "round":
                self._streams["circuit", node, manifest].add(message.stream)
                holds(
                    len(self._streams["circuit", node, manifest]) == 1,
                    node,
                    "runs a circuit twice:",
                    manifest,
                )

    def _once(self, what: str, *about: str) -> None:
        self._counts[what, *about] += 1
        holds(self._counts[what, *about] == 1, what, "twice:", *about)

    def _contribution(self, node: str, manifest: str, part) -> None:
        place = (node, manifest, part.outcome, part.chunk)
        before = self._contributed.setdefault(place, part.ciphertexts)
        holds(before == part.ciphertexts, "a chunk was made twice:", *place)
        shown = self._manifests.get(manifest)
        if shown is None:
            return
        [key] = [bytes.fromhex(keys["paillier"]) for keys in shown["keys"] if keys["paillier"]]
        size = shown["draft"]["key_bits"] // 8
        modulus, seen = int.from_bytes(key[:size], "big"), self._residues[manifest]
        for number in range(len(part.ciphertexts) // (2 * size)):
            ciphertext = part.ciphertexts[number * 2 * size : (number + 1) * 2 * size]
            residue = int.from_bytes(ciphertext, "big") % modulus
            where = seen.setdefault(residue, (*place, number))
            holds(where == (*place, number), "randomness is used twice:", where, (*place, number))

    # What became of jobs.

    def _submissions(self) -> None:
        for job in self.world.jobs.values():
            submission = job.submission
            if submission is None or not submission.state.ended:
                continue
            before = self._ended.setdefault(job.name, submission.state)
            holds(before is submission.state, "a job ended twice:", before, submission.state)
            if submission.state is State.COMPLETE:
                holds(not submission.reason and not submission.exit_code, "a complete job has a reason")
            else:
                reason = submission.reason
                holds(reason and "\n" not in reason, "a job ended without one line:", repr(reason))
                holds("internal error" not in reason, "a job met an internal error:", reason)
                holds(_SECRET not in reason, "a reason names somebody:", reason)
                holds(submission.exit_code, "a failed job has exit code 0")
        for line in self.world.errors:
            holds(line and "\n" not in line and "internal error" not in line, "a linkage's end:", repr(line))

    def _results(self) -> None:
        asked = {question.name: question for job in self.world.jobs.values() for question in job.questions}
        complete = {name for name, job in self.world.jobs.items() if job.submission.state is State.COMPLETE}
        for node in self.world.nodes.values():
            for found in node.out.glob("*/eligible.csv"):
                question = asked[found.parent.name]
                job = json.loads((found.parent / "result.json").read_text())["job"]
                holds(node.name == f"d{question.recipient}", node.name, "has another department's result")
                self._compare(question, found, job)
                holds(
                    job in complete or self._was_concluded(job),
                    "a failed job left a result:",
                    job,
                    found.parent,
                )
        for name in complete:
            job = self.world.jobs[name]
            for question, result in zip(job.questions, self._report(name), strict=True):
                if question.kind == "count":
                    if not self._is_tainted(name, result["job"]):
                        expected = question.count(self.world.rows)
                        holds(
                            result["eligible"] == expected or (not expected and result["eligible"] is None),
                            "another count than the plain one:",
                            question.name,
                            result["eligible"],
                            expected,
                        )
                        self.compared += 1
                else:
                    out = self.world.nodes[f"d{question.recipient}"].out / question.name / "eligible.csv"
                    holds(out.exists(), "a complete job left no result:", name, question.name)

    def _compare(self, question: Question, found: Path, job: str) -> None:
        if self._is_tainted(job):
            return
        with found.open(encoding="utf-8", newline="") as file:
            people = [row["id"] for row in csv.DictReader(file)]
        expected = question.found(self.world.rows)
        holds(people == expected, "another result than the plain one:", question.name, people, expected)
        self.compared += 1

    def _is_tainted(self, *jobs: str) -> bool:
        return any(job in self._tainted for job in jobs)

    def _participants(self, job: str) -> set[str]:
        drafts = (shown["draft"] for shown in self._manifests.values())
        return {name for draft in drafts if draft["job"] == job for name in draft["participants"]}

    def _was_concluded(self, job: str) -> bool:
        return any(
            self._manifests.get(manifest, {}).get("draft", {}).get("job") == job
            for manifest in self.concluded
        )

    def _report(self, job: str) -> Sequence[Mapping]:
        return self.world.office.office.result(job).results

    # What parties keep.

    def _evidence(self) -> None:
        for index in self.world.office.evidence.glob("*/*/index.json"):
            known = Path(*index.parts[-3:])
            if known in {Path(*each.parts[-3:]) for each in self._packages}:
                continue
            self._packages.add(index)
            try:
                [summary] = verify(index.parent)
            except EvidenceRefusedError as error:
                holds(self._may_be_refused, "evidence does not verify:", error)
                holds(str(index.parent) in str(error), "a refusal names no file:", error)
                self.refused += 1
                continue
            self.verified += 1
            holds(index.parent.name == summary.job, "evidence of another job")
            job = self.world.jobs[summary.job]
            if job.submission.state is State.COMPLETE:
                logs = {path.stem for path in (index.parent / "logs").iterdir()}
                parties = self._participants(summary.job)
                holds(
                    summary.status == "complete" or not parties <= logs, "a complete job has evidence of none"
                )
            killed = self._was_killed(COORDINATOR)
            if summary.status == "complete":
                holds(
                    job.submission.state is State.COMPLETE
                    or killed
                    or job.submission.state is State.CANCELLED,
                    "evidence of a complete job that is",
                    job.submission.state,
                )

    def _node(self, node: SimulatedNode) -> None:
        started, records = {}, Counter()
        opened: dict[tuple, set[str]] = defaultdict(set)
        revoked: set[str] = set()
        for body in self._bodies(node):
            match body["action"]:
                case "started":
                    records["started", body["manifest"]] += 1
                    started[body["manifest"]] = body
                    for use in body["policies"]:
                        holds(use["approval"] not in revoked, node.name, "used a revoked approval")
                case "decided" if body["kind"] == "revoke":
                    revoked |= self._revoked_by(node, body["decision"])
                case "contributed":
                    place = (node.name, body["manifest"], body["outcome"], body["chunk"])
                    records["contributed", *place] += 1
                    sent = self._contributed.get(place)
                    holds(
                        sent is None or hashlib.sha256(sent).hexdigest() == body["sha256"],
                        "another chunk on record than left:",
                        place,
                    )
                case "opened":
                    place = (body["manifest"], body["outcome"], body["chunk"])
                    records["opened", *place] += 1
                    opened[place].add(body["sha256"])
                case "delivered":
                    records["delivered", body["manifest"], body["policy"]] += 1
                case "dealt":
                    records["dealt", body["manifest"]] += 1
        twice = [what for what, count in records.items() if count > 1]
        holds(not twice, node.name, "has on record twice:", twice)
        self._debits(node, started)
        self._evaluations(node)
        open_still = "SELECT manifest_sha256 FROM jobs WHERE state <> 'closed'"
        for table in ("chunks", "products"):
            left = _rows(
                node.disk,
                f"SELECT state FROM jobs JOIN {table} USING (manifest_sha256) WHERE state = 'closed'",
            )
            holds(not left, node.name, "keeps", table, "of a closed job")
        left = _rows(
            node.disk,
            "SELECT state FROM jobs WHERE state = 'closed' AND (secrets IS NOT NULL OR answers IS NOT NULL)",
        )
        holds(not left, node.name, "keeps keys of a closed job")
        still = len(_rows(node.disk, open_still))
        holds(len(node.jobs._newest._turns) <= still, node.name, "remembers turns of closed jobs")
        for (party, manifest, policy), streams in self._presented.items():
            if party == node.name:
                longest = max(streams.values(), key=len)
                holds(
                    all(longest.startswith(each) for each in streams.values()),
                    party,
                    "presents other slots than before:",
                    manifest,
                    policy,
                )

    def _evaluations(self, node: SimulatedNode) -> None:
        """A trustee evaluates each identity once, however often an epoch is linked."""
        for row in _rows(
            node.disk, "SELECT requester, sum(count) AS asked FROM evaluations GROUP BY requester"
        ):
            known = len(self.world.rows.get(row["requester"], {}))
            holds(
                row["asked"] <= known,
                node.name,
                "evaluated more than there are:",
                row["requester"],
                row["asked"],
            )

    def _debits(self, node: SimulatedNode, started: Mapping[str, Mapping]) -> None:
        """Each started manifest is debited once, log and store say the same, and no limit is passed."""
        rows = _rows(
            node.disk, "SELECT manifest_sha256, kind, what, receiver, units, epoch, day FROM desk_debits"
        )
        kept: dict[str, dict[tuple, int]] = defaultdict(dict)
        lost: dict[tuple, list[tuple[datetime, str, int]]] = defaultdict(list)
        for row in rows:
            manifest, budget = row["manifest_sha256"].hex(), (row["kind"], row["what"], row["receiver"])
            kept[manifest][budget] = row["units"]
            lost[budget].append((datetime.fromisoformat(row["day"]), row["epoch"].hex(), row["units"]))
        for manifest, body in started.items():
            said = {(line["kind"], line["what"], line["receiver"]): line["units"] for line in body["debits"]}
            holds(kept.get(manifest, {}) == said, node.name, "debited other than it says:", manifest, said)
        killed = self._was_killed(node.name)
        for manifest in kept.keys() - started.keys():
            holds(killed, node.name, "debited what never started:", manifest)
        for manifest in {about[-1] for about in self._counts if about[:2] == ("accepted", node.name)}:
            holds(manifest in started, node.name, "accepted what it did not record:", manifest)
        if self.world.spec.runs is not None:
            self._limits(node, lost)
        uses = _rows(node.disk, "SELECT approval, manifest_sha256 FROM desk_uses")
        decisions = _decisions(node)
        for approval, count in Counter(row["approval"].hex() for row in uses).items():
            holds(count <= decisions[approval]["runs"], node.name, "used an approval too often:", approval)
        orphans = {row["manifest_sha256"].hex() for row in uses} - started.keys()
        holds(not orphans or killed, node.name, "used approvals for what never started:", orphans)

    def _limits(self, node: SimulatedNode, lost: Mapping[tuple, list[tuple[datetime, str, int]]]) -> None:
        an_epoch, a_year = self.world.spec.runs
        for budget, losses in lost.items():
            if budget[0] != "runs":
                continue
            by_epoch = Counter()
            for day, epoch, units in losses:
                by_epoch[epoch] += units
                year = sum(each for at, _, each in losses if day - _YEAR < at <= day)
                holds(year <= a_year, node.name, "lost more than a year allows:", budget, year)
            holds(max(by_epoch.values()) <= an_epoch, node.name, "lost more than an epoch allows:", budget)

    def _coordinator(self) -> None:
        office = self.world.office
        left = _rows(
            office.disk,
            "SELECT state FROM jobs JOIN combined USING (manifest_sha256) WHERE state <> 'started'",
        )
        holds(not left, "the coordinator keeps chunks of a closed job")

    def _was_killed(self, party: str) -> bool:
        return any(process.dead for process in self.world.lives[party])

    def _bodies(self, node: SimulatedNode) -> Iterator[Mapping]:
        path = Path(f"{node.disk}.log")
        for line in path.read_bytes().splitlines():
            yield json.loads(line)["body"]

    def _revoked_by(self, node: SimulatedNode, decision: str) -> set[str]:
        decided = _decisions(node).get(decision)
        return set() if decided is None else {decided["revokes"]}


def _decisions(node: SimulatedNode) -> dict[str, Mapping]:
    """What a department's officer signed, by its hash, hex."""
    rows = _rows(node.disk, "SELECT digest, statement FROM desk_decisions")
    return {row["digest"].hex(): json.loads(row["statement"]) for row in rows}


def _rows(disk: Path, sql: str) -> list[sqlite3.Row]:
    """Read a store as a stranger would."""
    with closing(sqlite3.connect(disk)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(sql).fetchall()


def _count(disk: Path, table: str) -> int:
    return _rows(disk, f"SELECT count(*) AS number FROM {table}")[0]["number"]
