"""What the recipient writes for itself when a job is complete (policies.md, "What local run writes")."""

import csv
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from veilmatch_policy.manifest import Manifest

STAGES = ("linkage", "contribute", "combine", "open", "total")

_OWNER_ONLY = 0o600


@dataclass(frozen=True)
class JobFigures:
    """What the job took, as the coordinator measured it: seconds by stage, bytes by department."""

    seconds: Mapping[str, float]
    sent: Mapping[str, int]
    received: Mapping[str, int]


def write_result(folder: Path, manifest: Manifest, identifiers: pa.Array, figures: JobFigures) -> None:
    """Write ``FOLDER/POLICY/result.json`` and ``eligible.csv``.

    ``identifiers`` are the normal forms of the eligible, in any order.  Each file appears whole or
    not at all; the list of people is readable by its owner only.
    """
    policy, draft = manifest.policy, manifest.draft
    place = folder / policy.name
    place.mkdir(parents=True, exist_ok=True)
    rows = io.StringIO(newline="")
    # Not Arrow's writer: it puts quotation marks around every text, and people open this file by hand.
    writer = csv.writer(rows, lineterminator="\n")
    writer.writerow(["id"])
    writer.writerows([identifier] for identifier in identifiers.sort().to_pylist())
    _write(place / "eligible.csv", rows.getvalue().encode())
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
    _write(place / "result.json", (json.dumps(result, ensure_ascii=False, indent=2) + "\n").encode())


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
