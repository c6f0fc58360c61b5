"""What the recipient writes for itself when a job is complete (policies.md, "What local run writes")."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from veilmatch_node.errors import JobRefusedError
from veilmatch_node.whole_file import write_whole
from veilmatch_policy.manifest import Manifest

STAGES = ("linkage", "contribute", "combine", "open", "total")


@dataclass(frozen=True)
class JobFigures:
    """What the job took, as the coordinator measured it: seconds by stage, bytes by department."""

    seconds: Mapping[str, float]
    sent: Mapping[str, int]
    received: Mapping[str, int]


def write_result(folder: Path, manifest: Manifest, identifiers: pa.Array, figures: JobFigures) -> None:
    """Write ``FOLDER/POLICY/result.json``, then ``eligible.csv``.

    ``identifiers`` are the normal forms of the eligible, in any order.  The list of people is written
    last and an earlier run's is removed first: where there is one, ``result.json`` beside it is of the
    same run.  Raises JobRefusedError, before anything is written, for figures that are not complete.
    """
    policy, draft = manifest.policy, manifest.draft
    _check(figures, draft.participants)
    place = folder / policy.name
    place.mkdir(parents=True, exist_ok=True)
    rows = io.StringIO(newline="")
    # Not Arrow's writer: it puts quotation marks around every text, and people open this file by hand.
    writer = csv.writer(rows, lineterminator="\n")
    writer.writerow(["id"])
    writer.writerows([identifier] for identifier in identifiers.sort().to_pylist())
    result = {
        "policy": policy.name,
        "version": policy.version,
        "policy_sha256": policy.digest.hex(),
        "job": draft.job,
        "linkage": draft.linkage,
        "key_bits": draft.key_bits,
        "departments": list(draft.participants),
        "persons": draft.padded,
        "households": None,
        "eligible": len(identifiers),
        "seconds": {stage: round(figures.seconds[stage], 3) for stage in STAGES},
        "bytes": {
            **{
                name: {"sent": figures.sent[name], "received": figures.received[name]}
                for name in draft.participants
            },
            "coordinator": {"sent": sum(figures.received.values()), "received": sum(figures.sent.values())},
        },
        "status": "complete",
    }
    (place / "eligible.csv").unlink(missing_ok=True)
    write_whole(place / "result.json", (json.dumps(result, ensure_ascii=False, indent=2) + "\n").encode())
    write_whole(place / "eligible.csv", rows.getvalue().encode())


def _check(figures: JobFigures, participants: Sequence[str]) -> None:
    seconds = [figures.seconds.get(stage, math.nan) for stage in STAGES]
    counted = figures.sent.keys() & figures.received.keys()
    if not all(math.isfinite(value) and value >= 0 for value in seconds) or not counted >= set(participants):
        raise JobRefusedError(
            "job",
            "the coordinator concluded it without a time for every stage and bytes for every department",
            "check that all parties run the same release",
        )
