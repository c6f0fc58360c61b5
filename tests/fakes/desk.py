"""All departments' data on one desk: what a federation must find, by the nodes' own code and without a protocol."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from veilmatch_node.households import read_households
from veilmatch_node.source import load
from veilmatch_policy.catalog import Catalog
from veilmatch_policy.desk import OpenDepartment, ask_openly, asked_about
from veilmatch_policy.meaning import Answers, eligible, truths
from veilmatch_policy.policy import Policy


@dataclass(frozen=True)
class Desk:
    """Departments by name, over everybody's normal forms in one order."""

    departments: Mapping[str, OpenDepartment]
    identifiers: NDArray[np.str_]
    reference_date: date
    _asked: dict[bytes, Answers] = field(default_factory=dict)

    def eligible(self, policy: Policy, varied: Decimal | None = None) -> list[str]:
        """The recipient's people whom a policy finds, sorted; ``varied`` as in `meaning.eligible`."""
        return self._sorted(policy, eligible(policy, self._answers(policy), varied=varied))

    def asked_about(self, policy: Policy) -> list[str]:
        """The people whom a policy is about, sorted."""
        return self._sorted(policy, np.True_)

    def truths(self, policy: Policy) -> Mapping[str, Mapping[str, bool]]:
        """What each condition is, of everybody on the desk."""
        found = truths(policy, self._answers(policy))
        people = self.identifiers.tolist()
        return {name: dict(zip(people, values.tolist(), strict=True)) for name, values in found.items()}

    def _answers(self, policy: Policy) -> Answers:
        if policy.digest not in self._asked:
            self._asked[policy.digest] = ask_openly(policy, self.departments, self.reference_date)
        return self._asked[policy.digest]

    def _sorted(self, policy: Policy, found: NDArray[np.bool_] | np.bool_) -> list[str]:
        about = asked_about(policy, self.departments, self.reference_date)
        return sorted(self.identifiers[about & found].tolist())


@contextmanager
def on_one_desk(
    catalogs: Mapping[str, Catalog], folders: Mapping[str, Path], reference_date: date, register: str | None
) -> Iterator[Desk]:
    """Load departments from their folders; ``register`` is the one whose households count."""
    with ExitStack() as stack:
        loaded = {
            name: stack.enter_context(
                load(catalog, folders[name], household=name == register, reference_date=reference_date)
            )
            for name, catalog in catalogs.items()
        }
        if register is not None:
            people = loaded[register].people
            read_households(loaded[register], np.arange(people, dtype=np.uint32), people)
        forms = {
            name: np.array(department.identifiers.to_pylist(), dtype=np.str_)
            for name, department in loaded.items()
        }
        everybody = np.unique(np.concatenate(list(forms.values())))
        yield Desk(
            {
                name: OpenDepartment(
                    catalogs[name], department.connection, department.people, _places(everybody, forms[name])
                )
                for name, department in loaded.items()
            },
            everybody,
            reference_date,
        )


def _places(everybody: NDArray[np.str_], known: NDArray[np.str_]) -> NDArray[np.int64]:
    """The place of each of everybody among those who are known; -1 where they are not."""
    places = np.full(len(everybody), -1, dtype=np.int64)
    places[np.searchsorted(everybody, known)] = np.arange(len(known))
    return places
