"""A checked policy in words: what each department computes, and what each party learns.

The second part follows the table of protocol.md, 8, its unpleasant rows included: a data officer
reads both before signing.
"""

from collections.abc import Iterator
from datetime import date

from veilmatch_policy.check import CheckedPolicy
from veilmatch_policy.examples import holds
from veilmatch_policy.expression import Expression


def plan_in_words(checked: CheckedPolicy) -> tuple[str, ...]:
    """What each department reads, computes and sends: a line each, the recipient's last."""
    recipient = checked.policy.recipient
    lines = [
        f"{name}: reads {_columns(checked, name)}; computes one yes/no a person "
        f"({_conditions(checked, name)}); sends one masked 40-bit number a slot"
        for name in checked.contributors
    ]
    own = f" and who fulfil {_conditions(checked, recipient)}" if checked.tasks[recipient].names else ""
    lines.append(
        f"{recipient} (recipient): reads {_columns(checked, recipient)}; asks about {_asked_about(checked)}; "
        f"sends no answer; keeps those whose slot opens to 0{own}"
    )
    return tuple(lines)


def learned_in_words(checked: CheckedPolicy, reference_date: date) -> tuple[str, ...]:
    """What each party learns: a line each, the recipient's first; ``reference_date`` as in a run."""
    return (*_recipient_learns(checked, reference_date), *_others_learn(checked))


def stale_in_words(checked: CheckedPolicy, today: date) -> tuple[str, ...]:
    """Tables that the policy reads and that a run would refuse today for their age: a line each.

    A table whose day only its database knows is left to its node.
    """
    lines = []
    for name, task in checked.tasks.items():
        for table_name in dict.fromkeys(column.table for column in task.columns):
            table = checked.catalogs[name].tables[table_name]
            if table.stale_after is not None and isinstance(table.as_of, date):
                age = (today - table.as_of).days
                if age > table.stale_after:
                    lines.append(
                        f"{name}: table {table_name} describes {table.as_of}, {age} days ago; "
                        f"a run refuses it after {table.stale_after}"
                    )
    return tuple(lines)


def _recipient_learns(checked: CheckedPolicy, reference_date: date) -> Iterator[str]:
    recipient, contributors = checked.policy.recipient, checked.contributors
    asked = ", ".join(f"{name} ({owner})" for owner in contributors for name in checked.tasks[owner].names)
    own = ", also for those who do not fulfil its own conditions" if checked.tasks[recipient].names else ""
    yield f"{recipient} (recipient): of {_asked_about(checked)}, who fulfils all of {asked}{own}"
    if len(contributors) == 1:
        yield f"{recipient} (recipient): the answer of {contributors[0]}, the only department asked"
    for owner in contributors:
        if _stranger_fails(checked, owner, reference_date):
            yield (
                f"{recipient} (recipient): that {owner} knows whoever fulfils all of it; "
                f"exactly who is in {owner}, where what is asked is true of everyone there"
            )
    yield f"{recipient} (recipient): more people's answers, if it inserts identities, up to its quota"


def _others_learn(checked: CheckedPolicy) -> Iterator[str]:
    recipient, contributors = checked.policy.recipient, checked.contributors
    yield (
        "coordinator: the policy, the sizes of the tables, which pseudonyms occur in which departments, and "
        f"which of them {recipient} asks about; no identity, value or answer, not who or how many match"
    )
    for owner in contributors:
        yield (
            f"{owner}: the policy and who takes part, the number of slots and of {recipient}'s people; "
            "no answer, no result, not who else knows its people"
        )
    yield (
        f"coordinator and {recipient} together: who fulfils all of what is asked, among everybody linked; "
        f"which departments know the people of {recipient}"
    )
    if len(contributors) > 1:
        yield f"{recipient} and all of {', '.join(contributors)} but one together: the answer of that one"
    yield "any department and the coordinator together: which departments know its people"


def _stranger_fails(checked: CheckedPolicy, owner: str, reference_date: date) -> bool:
    """Whether somebody of whom the department has no row fails what it is asked."""
    task = checked.tasks[owner]
    return not all(
        holds(condition, (), unknown=unknown, reference_date=reference_date)
        for condition, unknown in zip(task.conditions, task.unknowns, strict=True)
    )


def _columns(checked: CheckedPolicy, department: str) -> str:
    columns = [f"{column.name} (table {column.table})" for column in checked.tasks[department].columns]
    return ", ".join(columns) or "no column"


def _conditions(checked: CheckedPolicy, department: str) -> str:
    task = checked.tasks[department]
    return " and ".join(
        f"{name}: {_flat(condition.text)}{_parameters(checked, condition)}"
        for name, condition in zip(task.names, task.conditions, strict=True)
    )


def _parameters(checked: CheckedPolicy, condition: Expression) -> str:
    shown = []
    for name in condition.parameters:
        parameter = checked.policy.parameters[name]
        allowed = f", approved from {parameter.allow[0]} to {parameter.allow[1]}" if parameter.allow else ""
        shown.append(f"{name} = {parameter.value}{allowed}")
    return f" with {'; '.join(shown)}" if shown else ""


def _asked_about(checked: CheckedPolicy) -> str:
    policy = checked.policy
    people = "all of its people" if policy.among is None else f"its people with {_flat(policy.among)}"
    return people if policy.among_at_most is None else f"{people} (at most {policy.among_at_most})"


def _flat(text: str) -> str:
    return " ".join(text.split())
