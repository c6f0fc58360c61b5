"""The answer without any protocol: all tables on one desk, for comparison in the demo and in tests.

This is what the federation exists to avoid.  It reads every department's data in one process, with the
node's own reader, and joins on the identifiers themselves.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from veilmatch.departments import Department
from veilmatch_node.households import read_households
from veilmatch_node.source import Department as Loaded
from veilmatch_node.source import load
from veilmatch_policy import meaning
from veilmatch_policy.check import bind_questions
from veilmatch_policy.desk import OpenDepartment, ask_openly, asked_about
from veilmatch_policy.policy import Policy
from veilmatch_policy.questions import ask


@dataclass(frozen=True)
class Plain:
    """A policy's plaintext answer: the recipient's eligible people, sorted, and each one's household's number."""

    identifiers: list[str]
    households: NDArray[np.intp]


def eligible(
    policy: Policy,
    departments: Mapping[str, Department],
    reference_date: date,
    *,
    varied: Decimal | None = None,
) -> Plain:
    """Return who of the recipient's people is eligible, by identifiers in normal form.

    ``varied`` is a bound of the policy's what-if in place of its own.
    """
    questions = ask([policy], reference_date)
    register = policy.household.department if policy.household is not None else None
    names = {policy.recipient, *(question.department for question in questions)}
    names |= {register} if register is not None else set()
    with ExitStack() as stack:
        loaded: dict[str, Loaded] = {}
        for name in sorted(names):
            department = departments[name]
            task = bind_questions([policy], questions, reference_date, department.catalog)
            loaded[name] = stack.enter_context(
                load(
                    department.catalog,
                    department.folder,
                    needed={column.name for column in task.columns},
                    household=name == register,
                    reference_date=reference_date,
                )
            )
        people = pc.unique(pa.concat_arrays([data.inputs for data in loaded.values()]))
        opened = {
            name: OpenDepartment(
                departments[name].catalog,
                data.connection,
                data.people,
                pc.index_in(people, value_set=data.inputs).fill_null(-1).to_numpy(),
            )
            for name, data in loaded.items()
        }
        if register is not None:
            everybody = np.arange(loaded[register].people, dtype=np.uint32)
            read_households(loaded[register], everybody, len(everybody))  # makes the table ``members``
        answers = ask_openly(policy, opened, reference_date)
        found = meaning.eligible(policy, answers, varied=varied)
        asked = asked_about(policy, opened, reference_date)
        places = np.flatnonzero(found & asked)
        own = opened[policy.recipient].places[places]
        identifiers = loaded[policy.recipient].identifiers.take(pa.array(own))
        order = pc.sort_indices(identifiers).to_numpy()
        return Plain(identifiers.take(pa.array(order)).to_pylist(), answers.households.numbers[places][order])
