"""`veilmatch demo`: the main job on the data that the repository ships, checked against the plaintext answer."""

import csv
import tempfile
from importlib.resources import files
from pathlib import Path

from veilmatch import show
from veilmatch.departments import check_everything, load_departments, load_policies, today
from veilmatch.errors import JobFailedError
from veilmatch.plaintext import eligible
from veilmatch.running import RunSettings, local_federation

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
        "This machine stands for every department's officer: all policies are approved."
    )
    rows = []
    with local_federation(departments, out, _SETTINGS) as federation:
        with show.bars("Linkage: OPRF through two trustees") as bars:
            federation.link(_SETTINGS.linkage, bars.step)
        for policy in policies:
            with show.bars(f"{policy.name}: {policy.title}") as bars:
                result = federation.run(policy, _SETTINGS.key_bits, bars.step)
            found = _identifiers(out / policy.name / "eligible.csv")
            plain = eligible(policy, departments, policy.reference_date or today())
            rows.append(show.row_of(result, equal=found == plain))
    show.results(rows)
    wrong = [row.policy for row in rows if not row.equal]
    if wrong:
        raise JobFailedError(f"{', '.join(wrong)}: differs from the plaintext answer; please report it", 5)


def example_folder() -> Path:
    """Where the shipped example is: in the installed package, or in the source tree."""
    installed = Path(str(files("veilmatch"))) / "examples" / "eusilc"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "examples" / "eusilc"


def _identifiers(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row["id"] for row in csv.DictReader(file)]
