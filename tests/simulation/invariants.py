"""What holds in a federation after every operation, whatever went wrong in it.

Each check reads what parties keep (stores, logs, files) and what they sent, as it left honest senders; none of
it asks the code under test what it meant to do.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from fakes.federation import COORDINATOR
from simulation.faults import CHANGES, FORGE, LINKAGE, UNPROTECTED, Fault
from simulation.kept import Kept, count, rows
from simulation.messages import SECRET, Messages
from simulation.people import Question
from simulation.violated import holds
from simulation.world import World

from veilmatch_coordinator.queue import State
from veilmatch_evidence.errors import EvidenceRefusedError
from veilmatch_evidence.replay import replay
from veilmatch_evidence.verify import verify


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
        self._messages = Messages()
        self._kept = Kept(world, self._messages)
        self._packages: set[Path] = set()

    def check(self, happened: Sequence[Fault] = ()) -> None:
        """Hold everything against what is known; ``happened`` went wrong in the last operation."""
        self._take_taints(happened)
        self._messages.read(self.world.network.sent)
        self._submissions()
        self._results()
        self._evidence()
        for node in self.world.nodes.values():
            self._kept.check(node)
        self._coordinator()
        holds(not (left := self.world.left_over()), "threads are left over:", left)

    def check_end(self) -> None:
        """After all manifests have expired and everybody is back: nothing of any job is left but its record."""
        self.check()
        for name, node in self.world.nodes.items():
            for table in ("chunks", "products"):
                holds(not count(node.disk, table), name, "keeps", table, "of jobs that are over")
            left = rows(node.disk, "SELECT state FROM jobs WHERE secrets IS NOT NULL OR answers IS NOT NULL")
            holds(not left, name, "keeps keys or answers of a job that is over:", left)
        office = self.world.office
        for table in ("combined", "closings"):
            holds(not count(office.disk, table), "the coordinator keeps", table, "of jobs that are over")
        left = rows(office.disk, "SELECT state FROM jobs WHERE state <> 'closed' OR presented IS NOT NULL")
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
                holds(SECRET not in reason, "a reason names somebody:", reason)
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
                    recipient = self.world.nodes[f"d{question.recipient}"]
                    found = recipient.out / question.name / "eligible.csv"
                    there = found.exists() or recipient.process.dead  # then it writes them when it is back
                    holds(there, "a complete job left no result:", name, question.name)

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
        drafts = (shown["draft"] for shown in self._messages.manifests.values())
        return {name for draft in drafts if draft["job"] == job for name in draft["participants"]}

    def _was_concluded(self, job: str) -> bool:
        return any(
            self._messages.manifests.get(manifest, {}).get("draft", {}).get("job") == job
            for manifest in self._messages.concluded
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
            killed = self.world.was_killed(COORDINATOR)
            if summary.status == "complete":
                holds(
                    job.submission.state is State.COMPLETE
                    or killed
                    or job.submission.state is State.CANCELLED,
                    "evidence of a complete job that is",
                    job.submission.state,
                )

    def _coordinator(self) -> None:
        office = self.world.office
        left = rows(
            office.disk,
            "SELECT state FROM jobs JOIN combined USING (manifest_sha256) WHERE state <> 'started'",
        )
        holds(not left, "the coordinator keeps chunks of a closed job")
