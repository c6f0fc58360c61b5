"""`veilmatch demo`: the main job on the data that the repository ships, checked against the plaintext answer."""

import csv
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import pyarrow as pa

from veilmatch import show
from veilmatch.departments import (
    Department,
    catalogs_of,
    check_everything,
    load_departments,
    load_policies,
    today,
)
from veilmatch.errors import JobFailedError
from veilmatch.grouping import needs_extra_dealer
from veilmatch.plaintext import eligible
from veilmatch.running import RunSettings, local_federation
from veilmatch_node.households import read_households
from veilmatch_node.source import load

_POOR = "under-poverty-line"  # the policy whose answer others have published
_REGISTER = "public_security"

_SETTINGS = RunSettings(linkage="oprf", key_bits=3072, workers=1)


def run(out: Path | None) -> None:
    """Run every shipped policy.  Raises JobFailedError where an answer differs from the plaintext one."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="veilmatch-demo-") as folder:
            _run(Path(folder))
    else:
        _run(out)


def _run(out: Path) -> None:
    example = example_folder()
    departments = load_departments(example / "departments")
    policies = load_policies(sorted((example / "policies").glob("*.yaml")))
    check_everything(departments, policies)
    show.messages.print(
        f"{len(departments)} departments with synthetic EU-SILC data (Alfons and Templ 2013), one process each, "
        "one for the coordinator, mutual TLS between them.\n"
    )
    catalogs = catalogs_of(departments)
    jobs = [[policy] for policy in policies]  # one after the other, to see what each takes
    extra_dealer = needs_extra_dealer(jobs, catalogs, today())
    show.trust(extra_dealer=extra_dealer)
    rows, poor = [], None
    with local_federation(departments, out, _SETTINGS, extra_dealer=extra_dealer) as federation:
        with show.bars("Linkage: OPRF through two trustees") as bars:
            federation.link(_SETTINGS, bars.step)
        for policy in policies:
            with show.bars(f"{policy.name}: {policy.title}") as bars:
                [result] = federation.run([policy], _SETTINGS.key_bits, bars.step)
            found = _identifiers(out / policy.name / "eligible.csv")
            plain = eligible(policy, departments, policy.reference_date or today())
            rows.append(show.row_of(result, equal=found == plain.identifiers))
            if policy.name == _POOR:
                poor = found
    show.results(rows)
    if poor is not None:
        show.lines("At risk of poverty", weigh(departments[_REGISTER], poor))
    wrong = [row.policy for row in rows if not row.equal]
    if wrong:
        raise JobFailedError(f"{', '.join(wrong)}: differs from the plaintext answer; please report it", 5)


def weigh(register: Department, found: Sequence[str]) -> list[str]:
    """Weigh who was found with the survey weights that only the register has, as its own clerk would."""
    with load(
        register.catalog,
        register.folder,
        needed=("survey_weight",),
        household=True,
        reference_date=today(),
    ) as data:
        read_households(data, np.arange(data.people, dtype=np.uint32), data.people)
        data.connection.register("found", pa.table({"id": pa.array(found, pa.string())}))
        data.connection.register(
            "people", pa.table({"person": np.arange(data.people, dtype=np.int32), "id": data.identifiers})
        )
        [(persons, households, share)] = data.connection.execute(
            """
            SELECT count(found.id), count(DISTINCT CASE WHEN found.id IS NOT NULL THEN household END),
                   100 * sum(CASE WHEN found.id IS NOT NULL THEN survey_weight END) / sum(survey_weight)
            FROM people JOIN members USING (person) JOIN t_residents USING (person) LEFT JOIN found USING (id)
            """
        ).fetchall()
    weighted = f"weighted with the register's survey weights {share:.5f} per cent"
    return [
        f"{persons:,} persons in {households:,} households; {weighted}",
        "Alfons and Templ (2013) published 14.44422 per cent for this population",
    ]


def example_folder() -> Path:
    """Where the shipped example is: in the installed package, or in the source tree."""
    installed = Path(str(files("veilmatch"))) / "examples" / "eusilc"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "examples" / "eusilc"


def _identifiers(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row["id"] for row in csv.DictReader(file)]
