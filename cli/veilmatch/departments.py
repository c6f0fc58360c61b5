"""The departments' folders and the policies that a command is given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from veilmatch.errors import UsageError
from veilmatch_policy.catalog import Catalog, load_catalog
from veilmatch_policy.check import check_policy
from veilmatch_policy.examples import run_examples
from veilmatch_policy.policy import Policy, load_policy

RESERVED = frozenset({"coordinator", "operator"})  # names of members that are no department
# Folders beside those of the policies' results: no recipient may write among what an auditor gets.
_FOLDERS = frozenset({"evidence", "reports", "logs"})


@dataclass(frozen=True)
class Department:
    """A department's folder and its catalog."""

    folder: Path
    catalog: Catalog


def load_departments(folder: Path) -> Mapping[str, Department]:
    """Read every folder with a ``catalog.yaml`` below ``folder``.

    Raises UsageError where there is none, or two are of one department, and CatalogError.
    """
    catalogs = sorted(folder.glob("*/catalog.yaml"))
    if not catalogs:
        raise UsageError(f"{folder}: holds no department (a folder with catalog.yaml); check --departments")
    departments: dict[str, Department] = {}
    for path in catalogs:
        catalog = load_catalog(path)
        if catalog.department in departments:
            raise UsageError(f"{path}: {catalog.department} has two folders; remove one")
        if catalog.department in RESERVED:
            raise UsageError(
                f"{path}: {catalog.department} is the name of another member; rename the department"
            )
        departments[catalog.department] = Department(path.parent, catalog)
    return departments


def load_policies(paths: Sequence[Path]) -> list[Policy]:
    """Read policies.  Raises UsageError where one is not there, or its name is another's, and PolicyError."""
    for path in paths:
        if path.is_dir() or not path.exists():
            raise UsageError(f"{path}: is no file; check the policy's path")
    policies = [load_policy(path) for path in paths]
    names = [policy.name for policy in policies]
    for name in names:
        if name.casefold() in _FOLDERS:  # file systems may fold case
            raise UsageError(f"{name}: is the name of another folder of the output; rename the policy")
        if names.count(name) > 1:
            raise UsageError(f"{name}: is the name of two policies; rename one")
    return policies


def check_everything(departments: Mapping[str, Department], policies: Sequence[Policy]) -> None:
    """Refuse what can be refused before a process starts.  Raises PolicyError."""
    catalogs = catalogs_of(departments)
    for policy in policies:
        run_examples(check_policy(policy, catalogs, today()), policy.reference_date or today())


def catalogs_of(departments: Mapping[str, Department]) -> Mapping[str, Catalog]:
    """Return the departments' catalogs by name."""
    return {name: department.catalog for name, department in departments.items()}


def today() -> date:
    """The reference date of policies that name none."""
    return date.today()  # noqa: DTZ011  a department's calendar day
