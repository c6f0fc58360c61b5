"""Kind ``run``: a whole federation on this machine, from departments' files to the recipient's list.

Every round starts a federation of processes, links it, and runs each policy's job, each round another one
first: the first finds members that have done nothing yet.  Then DuckDB answers the same questions over the
same files.  Answers are compared with the plaintext ones.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal, Self

import duckdb
import pyarrow as pa
import pyarrow.csv
from pydantic import BeforeValidator, model_validator

from veilmatch import show
from veilmatch.bench.federation_data import PARTS, Tables, write_tables
from veilmatch.bench.kinds.base import (
    REFUSALS,
    Experiment,
    KeyBits,
    Lab,
    Several,
    Workers,
    between,
    line_of,
    require,
)
from veilmatch.bench.peaks import read_peaks, reset_peaks
from veilmatch.bench.plain_join import FILES, LOADED, PlainJoin, plain_join
from veilmatch.bench.questions import PolicyKind, Question, write_questions
from veilmatch.bench.report import BYTES, PEAK, Case, Measure, Role, Unit
from veilmatch.departments import (
    Department,
    catalogs_of,
    check_everything,
    load_departments,
    load_policies,
    today,
)
from veilmatch.federation import COORDINATOR
from veilmatch.grouping import needs_extra_dealer
from veilmatch.plaintext import eligible
from veilmatch.running import LocalRun, RunSettings, local_federation, register_of
from veilmatch_policy.documents import FieldError, Whole
from veilmatch_policy.errors import nearest, quoted
from veilmatch_policy.policy import Policy

_FAILURES = (*REFUSALS, duckdb.Error)
_AFTER_LINKAGE: tuple[str, Role, Unit] = ("after linkage", Role.OURS, "s")
FIRST_ALONE = "the first policy alone"  # the base of total-twice
_STAGES = ("contribute", "combine", "open", "circuit")


@dataclass
class _Job:
    """One job of the experiment: its policies, what their plaintext answers are, and its samples by measure.

    ``rounds``: how many whole rounds it has; with an ``error`` it takes part in no more.
    """

    questions: list[Question]
    policies: list[Policy]
    answers: list[pa.Array]
    samples: dict[tuple[str, Role, Unit], list[float]] = field(default_factory=dict)
    rounds: int = 0
    error: str | None = None

    def add(self, name: str, role: Role, sample: float, unit: Unit = "s") -> None:
        """Keep one round's sample."""
        self.samples.setdefault((name, role, unit), []).append(sample)

    def measures(self, people: int) -> tuple[Measure, ...]:
        """Those of which every whole round has a sample."""
        return tuple(
            Measure(name=name, role=role, unit=unit, items=people, samples=tuple(samples[: self.rounds]))
            for (name, role, unit), samples in self.samples.items()
            if 0 < self.rounds <= len(samples)
        )


def _policy_kind(written: object) -> object:
    if isinstance(written, str) and written not in set(PolicyKind):
        raise ValueError(f"{quoted(written)} is not measured; {nearest(written, PolicyKind)}")
    return written


class Run(Experiment):
    """Whole runs: a case for each combination of what is listed."""

    kind: Literal["run"]
    people: Several[Annotated[Whole, between(100, 10_000_000)]]
    departments: Several[Annotated[Whole, between(2, len(PARTS))]]
    policies: Several[Annotated[PolicyKind, BeforeValidator(_policy_kind)]]
    key_bits: Several[KeyBits] = (3072,)
    linkage: Several[Literal["oprf", "shared-key"]] = ("oprf",)
    slots: Literal["union", "register"] = "union"
    workers: Several[Workers] = (1,)

    @model_validator(mode="after")
    def _register_slots(self) -> Self:
        if self.slots == "register" and self.linkage != ("oprf",):
            raise FieldError("register slots need the OPRF; write linkage: oprf", "linkage")
        if self.slots == "register" and self.policies != (PolicyKind.HOUSEHOLD_TOTAL,):
            raise FieldError(
                "register slots need a policy that names a register; write household-total", "policies"
            )
        return self

    def measured(self, lab: Lab) -> Iterator[Case]:
        """Measure all cases; the rounds of one federation's policies are one after the other."""
        for people, departments, key_bits, linkage, workers in product(
            self.people, self.departments, self.key_bits, self.linkage, self.workers
        ):
            settings = RunSettings(linkage, key_bits, workers, self.slots)
            jobs: dict[PolicyKind, _Job] = {}
            failed = None
            try:
                with TemporaryDirectory(prefix="run-", dir=lab.folder) as folder:
                    self._rounds(Path(folder), people, departments, settings, jobs)
            except _FAILURES as error:
                failed = line_of(error)
            for kind in dict.fromkeys(self.policies):
                job = jobs.get(kind)
                yield Case(
                    parameters={
                        "people": people,
                        "departments": departments,
                        "policy": kind.value,
                        "key_bits": key_bits,
                        "linkage": linkage,
                        "slots": self.slots,
                        "workers": workers,
                    },
                    item="person",
                    measures=job.measures(people) if job else (),
                    error=(job.error if job else None) or failed,
                )

    def _rounds(
        self, folder: Path, people: int, departments: int, settings: RunSettings, jobs: dict[PolicyKind, _Job]
    ) -> None:
        """Fill ``jobs``.  Raises what fails all of them."""
        tables = write_tables(folder / "departments", people, departments)
        loaded = load_departments(tables.folder)
        # What total-twice is held against is measured also where nobody asks for it.
        both = PolicyKind.TOTAL_TWICE in self.policies
        for kind in dict.fromkeys([*self.policies, *([PolicyKind.TOTAL] if both else [])]):
            jobs[kind] = _job(folder, kind, tables, loaded)
        where = f"{self.name}: {people:,} people, {departments} departments"
        with plain_join(tables) as plain:
            for job in jobs.values():
                _check_plain(job, plain)
            for number in range(1, self.rounds + 1):
                running = [job for job in jobs.values() if job.error is None]
                if not running:
                    break
                first = (number - 1) % len(running)
                with show.bars(f"{where}, round {number} of {self.rounds}") as bars:
                    _round(folder, loaded, [*running[first:], *running[:first]], settings, bars)
                for job in running:
                    if job.error is None:
                        job.add(FILES, Role.FLOOR, sum(map(plain.from_files, job.questions)))
                        job.add(LOADED, Role.FLOOR, sum(map(plain.from_tables, job.questions)))
                        job.rounds = number
        if both:
            first_alone, twice = jobs[PolicyKind.TOTAL], jobs[PolicyKind.TOTAL_TWICE]
            for sample in first_alone.samples.get(_AFTER_LINKAGE, ()):
                twice.add(FIRST_ALONE, Role.BASE, sample)
            if PolicyKind.TOTAL not in self.policies:  # nothing else would say that it failed
                twice.error = twice.error or first_alone.error


def _job(folder: Path, kind: PolicyKind, tables: Tables, loaded: Mapping[str, Department]) -> _Job:
    questions = write_questions(folder / kind.value, kind, tables.departments)
    policies = load_policies([question.path for question in questions])
    check_everything(loaded, policies)
    answers = [pa.array(eligible(policy, loaded, today()).identifiers, pa.string()) for policy in policies]
    return _Job(questions, policies, answers)


def _check_plain(job: _Job, plain: PlainJoin) -> None:
    """Hold the floor's answer against the exact one: it must answer the same question."""
    for question, answer in zip(job.questions, job.answers, strict=True):
        require(plain.answer(question).equals(answer), f"{question.name}: DuckDB's join")


def _round(
    folder: Path,
    loaded: Mapping[str, Department],
    jobs: Sequence[_Job],
    settings: RunSettings,
    bars: show.Bars,
) -> None:
    """One federation, linked, and asked each job, in this order; one that fails has its ``error``.

    Raises what ends a command where there is no federation to ask.
    """
    policies = [policy for job in jobs for policy in job.policies]
    extra_dealer = needs_extra_dealer([job.policies for job in jobs], catalogs_of(loaded), today())
    register = register_of(policies, settings)
    began = time.perf_counter()
    with (
        TemporaryDirectory(prefix="out-", dir=folder) as out,
        local_federation(
            loaded, Path(out), settings, extra_dealer=extra_dealer, register=register
        ) as federation,
    ):
        started = time.perf_counter() - began
        linked = federation.link(settings, bars.step)
        for job in jobs:
            job.add("start of all processes", Role.APART, started)
            job.add("linkage", Role.APART, linked.seconds)
            try:
                _run_job(federation, job, settings, bars)
            except _FAILURES as error:
                job.error = line_of(error)


def _run_job(federation: LocalRun, job: _Job, settings: RunSettings, bars: show.Bars) -> None:
    processes = {name: process.pid or 0 for name, process in federation.members.running.items()}
    reset_peaks(processes)
    began = time.perf_counter()
    results = federation.run(job.policies, settings.key_bits, bars.step)
    job.add(*_AFTER_LINKAGE[:2], time.perf_counter() - began)
    match results[0]:  # of a job of several policies seconds and bytes are the job's
        case {"seconds": dict(seconds), "bytes": dict(moved)}:
            for stage in _STAGES:
                job.add(stage, Role.PART, seconds[stage])
            for name, each in moved.items():
                called = BYTES if name == COORDINATOR else f"bytes of {name}"
                job.add(called, Role.SIZE, each["sent"] + each["received"], "B")
        case _:
            raise ValueError("a result.json without seconds and bytes")
    peaks = read_peaks(processes)
    job.add(PEAK, Role.SIZE, max(peaks.values()), "MiB")
    for name, peak in peaks.items():
        job.add(f"memory of {name}", Role.SIZE, peak, "MiB")
    for policy, answer in zip(job.policies, job.answers, strict=True):
        require(_found(federation.out / policy.name / "eligible.csv").equals(answer), policy.name)


def _found(path: Path) -> pa.Array:
    options = pyarrow.csv.ConvertOptions(column_types={"id": pa.string()})
    return pyarrow.csv.read_csv(path, convert_options=options)["id"].combine_chunks()
