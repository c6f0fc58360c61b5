"""The answer without any protocol: all tables on one desk, for comparison in the demo and in tests.

This is what the federation exists to avoid.  It reads every department's data in one process,
answers each condition with the node's own reader, and joins on the identifiers themselves.
"""

from collections.abc import Mapping
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from veilmatch_node.source import load
from veilmatch_policy.evaluate import truth
from veilmatch_policy.policy import Policy
from veilmatch_policy.check import check_department

from veilmatch.departments import Department


def eligible(policy: Policy, departments: Mapping[str, Department], reference_date: date) -> list[str]:
    """Return the identifiers, in normal form and sorted, of the recipient's people who are eligible."""
    recipient = departments[policy.recipient]
    people: pa.Array | None = None
    identifiers: pa.Array | None = None
    answers: list[tuple[pa.Array, NDArray[np.bool_]]] = []
    for name, department in departments.items():
        task = check_department(policy, department.catalog)
        if not task.conditions and name != policy.recipient:
            continue
        data = load(
            department.catalog,
            department.folder,
            needed={column.name for column in task.columns},
            reference_date=reference_date,
        )
        if department is recipient:
            people, identifiers = data.inputs, data.identifiers
        conditions = [*zip(task.conditions, task.unknowns, strict=True)]
        if task.among is not None:
            conditions.append((task.among, False))
        answers.extend(
            (
                data.inputs,
                truth(
                    data.connection, bound, people=data.people, reference_date=reference_date, unknown=unknown
                ),
            )
            for bound, unknown in conditions
        )
    if people is None or identifiers is None:
        raise ValueError(f"{policy.recipient} is not among the departments")
    holds = pa.array([True] * len(people))
    for known, values in answers:
        # Whoever the department does not know gets the answer of a missing row, the last value.
        places = pc.index_in(people, value_set=known).fill_null(len(known))
        holds = pc.and_(holds, pa.array(values).take(places))
    chosen: list[str] = sorted(identifiers.filter(holds).to_pylist())
    return chosen
