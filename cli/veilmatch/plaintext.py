"""The answer without any protocol: all tables on one desk, for comparison in the demo and in tests.

This is what the federation exists to avoid.  It reads every department's data in one process,
answers each condition with the node's own reader, and joins on the identifiers themselves.
"""

from collections.abc import Mapping
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from veilmatch.departments import Department
from veilmatch_node.source import load
from veilmatch_policy.check import check_department
from veilmatch_policy.evaluate import truth
from veilmatch_policy.policy import Policy


def eligible(policy: Policy, departments: Mapping[str, Department], reference_date: date) -> list[str]:
    """Return the identifiers, in normal form and sorted, of the recipient's people who are eligible."""
    recipient = departments[policy.recipient]
    with load(recipient.catalog, recipient.folder, needed=(), reference_date=reference_date) as own:
        people, identifiers = own.inputs, own.identifiers
    holds = np.ones(len(people), dtype=np.bool_)
    for department in departments.values():
        task = check_department(policy, department.catalog)
        conditions = [*zip(task.conditions, task.unknowns, strict=True)]
        if task.among is not None:
            conditions.append((task.among, False))
        if not conditions:
            continue
        needed = {column.name for column in task.columns}
        with load(
            department.catalog, department.folder, needed=needed, reference_date=reference_date
        ) as data:
            # Whoever the department does not know gets the answer of a missing row, the last value.
            places = pc.index_in(people, value_set=data.inputs).fill_null(data.people).to_numpy()
            for bound, unknown in conditions:
                holds &= truth(
                    data.connection, bound, people=data.people, reference_date=reference_date, unknown=unknown
                )[places]
    chosen: list[str] = sorted(identifiers.filter(pa.array(holds)).to_pylist())
    return chosen
