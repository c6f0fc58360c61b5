"""What the recipient writes for itself when a job is complete (policies.md, "What local run writes")."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from veilmatch_node.errors import JobRefusedError
from veilmatch_node.whole_file import write_whole
from veilmatch_policy.manifest import Manifest
from veilmatch_policy.policy import Policy
from veilmatch_policy.result import STAGES, result_document

RESULT: Final = "result.json"  # below FOLDER/POLICY
ELIGIBLE: Final = "eligible.csv"


@dataclass(frozen=True)
class JobFigures:
    """What the job took, as the coordinator measured it: seconds by stage, bytes by department."""

    seconds: Mapping[str, float]
    sent: Mapping[str, int]
    received: Mapping[str, int]


@dataclass(frozen=True)
class Found:
    """Who is eligible: identifiers in normal form, in any order, for household policies each with a label.

    ``labels`` is equal for people of one household; None for policies about persons.
    """

    identifiers: pa.Array
    labels: NDArray[np.uint32] | None = None

    def __repr__(self) -> str:
        return f"Found({self.eligible})"

    @property
    def eligible(self) -> int:
        """How many persons, or households, are eligible."""
        return len(self.identifiers) if self.labels is None else len(np.unique(self.labels))

    def rows(self) -> list[dict[str, object]]:
        """The rows of ``eligible.csv``, sorted by identifier."""
        columns = {"id": self.identifiers}
        if self.labels is not None:
            columns["household"] = pa.array(self.labels)
        rows: list[dict[str, object]] = pa.table(columns).sort_by("id").to_pylist()
        return rows


class ResultFiles(NamedTuple):
    """The texts of a policy's two files."""

    policy: str
    result: str
    eligible: str

    def __repr__(self) -> str:
        return f"ResultFiles({self.policy})"


def result_files(
    manifest: Manifest,
    policy: Policy,
    found: Found,
    figures: JobFigures,
    households: int | None,
) -> ResultFiles:
    """Make the files of a policy that reveals members.

    ``households`` is how many the job had, None where none was asked about.  Raises JobRefusedError for figures
    that are not complete.
    """
    _check(figures, manifest.draft.participants)
    rows = io.StringIO(newline="")
    # Not Arrow's writer: it puts quotation marks around every text, and people open this file by hand.
    names = ["id"] if found.labels is None else ["id", "household"]
    writer = csv.DictWriter(rows, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(found.rows())
    result = result_document(
        manifest,
        policy,
        seconds=figures.seconds,
        sent=figures.sent,
        received=figures.received,
        households=households,
        found={"eligible": found.eligible},
    )
    document = json.dumps(result, ensure_ascii=False, indent=2) + "\n"
    return ResultFiles(policy.name, document, rows.getvalue())


def encode_files(files: Sequence[ResultFiles]) -> bytes:
    """Serialise the files of a job, for the store."""
    return json.dumps([each._asdict() for each in files], ensure_ascii=False).encode()


def write_files(folder: Path, encoded: bytes) -> None:
    """Write ``FOLDER/POLICY/result.json``, then ``eligible.csv``, of each policy of what `encode_files` gave.

    The list of people is written last and an earlier run's is removed first: where there is one, ``result.json``
    beside it is of the same run.
    """
    for each in (ResultFiles(**fields) for fields in json.loads(encoded)):
        place = folder / each.policy
        place.mkdir(parents=True, exist_ok=True)
        (place / ELIGIBLE).unlink(missing_ok=True)
        write_whole(place / RESULT, each.result.encode())
        write_whole(place / ELIGIBLE, each.eligible.encode())


def _check(figures: JobFigures, participants: Sequence[str]) -> None:
    seconds = [figures.seconds.get(stage, math.nan) for stage in STAGES]
    counted = figures.sent.keys() & figures.received.keys()
    if not all(math.isfinite(value) and value >= 0 for value in seconds) or not counted >= set(participants):
        raise JobRefusedError(
            "job",
            "the coordinator concluded it without a time for every stage and bytes for every department",
            "check that all parties run the same release",
        )
