"""Kind ``run``: a whole federation on this machine, from departments' files to the recipient's list.

Every round starts a federation of processes, links it, and runs each policy's job; then DuckDB answers
the same question over the same files.  Answers are compared with the plaintext ones.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal, Self

import pyarrow as pa
import pyarrow.csv
from pydantic import Field, model_validator

from veilmatch import show
from veilmatch.bench.federation_data import PARTS, Tables, write_tables
from veilmatch.bench.kinds.base import REFUSALS, Experiment, KeyBits, Lab, Several, Workers
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
from veilmatch_policy.policy import Policy

_AFTER_LINKAGE: tuple[str, Role, Unit] = ("after linkage", Role.OURS, "s")
_STAGES = ("contribute", "combine", "open", "circuit")


@dataclass
class _Job:
    """One job of the experiment: its policies, what their plaintext answers are, and its samples by measure."""

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


class Run(Experiment):
    """Whole runs: a case for each combination of what is listed."""

    kind: Literal["run"]
    people: Several[Annotated[Whole, Field(ge=100, le=10_000_000)]]
    departments: Several[Annotated[Whole, Field(ge=2, le=len(PARTS))]]
    policies: Several[PolicyKind]
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
        for people, departments in product(self.people, self.departments):
            with TemporaryDirectory(prefix="run-", dir=lab.folder) as folder:
                tables = write_tables(Path(folder) / "departments", people, departments)
                for key_bits, linkage, workers in product(self.key_bits, self.linkage, self.workers):
                    settings = RunSettings(linkage, key_bits, workers, self.slots)
                    yield from self._rounds(Path(folder), tables, settings)

    def _rounds(self, folder: Path, tables: Tables, settings: RunSettings) -> Iterator[Case]:
        loaded = load_departments(tables.folder)
        jobs = {kind: _job(folder, kind, tables, loaded) for kind in self.policies}
        where = f"{self.name}: {tables.people:,} people, {len(tables.departments)} departments"
        with plain_join(tables) as plain:
            for job in jobs.values():
                _check_plain(job, plain)
            for number in range(1, self.rounds + 1):
                with show.bars(f"{where}, round {number} of {self.rounds}") as bars:
                    try:
                        _round(folder, loaded, jobs, settings, bars)
                    except REFUSALS as error:
                        for job in jobs.values():
                            job.error = job.error or str(error)
                        break
                for job in jobs.values():
                    job.add(FILES, Role.FLOOR, sum(map(plain.from_files, job.questions)))
                    job.add(LOADED, Role.FLOOR, sum(map(plain.from_tables, job.questions)))
                    job.rounds = number
        if {PolicyKind.TOTAL, PolicyKind.TOTAL_TWICE} <= jobs.keys():
            first, both = jobs[PolicyKind.TOTAL], jobs[PolicyKind.TOTAL_TWICE]
            for sample in first.samples.get(_AFTER_LINKAGE, ()):
                both.add("the first policy alone", Role.BASE, sample)
        for kind, job in jobs.items():
            yield Case(
                parameters={
                    "people": tables.people,
                    "departments": len(tables.departments),
                    "policy": kind.value,
                    "key_bits": settings.key_bits,
                    "linkage": settings.linkage,
                    "slots": settings.slots,
                    "workers": settings.workers,
                },
                item="person",
                measures=job.measures(tables.people),
                error=job.error,
            )


def _job(folder: Path, kind: PolicyKind, tables: Tables, loaded: Mapping[str, Department]) -> _Job:
    questions = write_questions(folder / kind.value, kind, tables.departments)
    policies = load_policies([question.path for question in questions])
    check_everything(loaded, policies)
    answers = [pa.array(eligible(policy, loaded, today()).identifiers, pa.string()) for policy in policies]
    return _Job(questions, policies, answers)


def _check_plain(job: _Job, plain: PlainJoin) -> None:
    """Hold the floor's answer against the exact one: it must answer the same question."""
    for question, answer in zip(job.questions, job.answers, strict=True):
        if not plain.answer(question).equals(answer):
            raise ValueError(f"{question.name}: the join answers another question")


def _round(
    folder: Path,
    loaded: Mapping[str, Department],
    jobs: Mapping[PolicyKind, _Job],
    settings: RunSettings,
    bars: show.Bars,
) -> None:
    """One federation, linked, and asked each job; raises what ends a command."""
    policies = [policy for job in jobs.values() for policy in job.policies]
    extra_dealer = needs_extra_dealer([job.policies for job in jobs.values()], catalogs_of(loaded), today())
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
        for job in jobs.values():
            job.add("start of all processes", Role.APART, started)
            job.add("linkage", Role.APART, linked.seconds)
            _run_job(federation, job, settings, bars)


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
        _compare(job, policy, answer, _found(federation.out / policy.name / "eligible.csv"))


def _compare(job: _Job, policy: Policy, answer: pa.Array, found: pa.Array) -> None:
    if not found.equals(answer):
        job.error = f"{policy.name} differs from the plaintext answer; please report it"


def _found(path: Path) -> pa.Array:
    options = pyarrow.csv.ConvertOptions(column_types={"id": pa.string()})
    return pyarrow.csv.read_csv(path, convert_options=options)["id"].combine_chunks()
