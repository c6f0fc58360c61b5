"""`veilmatch policy`: policies, before they are sent anywhere."""

from pathlib import Path
from typing import Annotated

import typer

from veilmatch import show
from veilmatch.departments import catalogs_of, load_departments, load_policies, today
from veilmatch_policy.check import CheckedPolicy, check_policy
from veilmatch_policy.examples import run_examples
from veilmatch_policy.words import (
    cost_in_words,
    learned_in_words,
    plan_in_words,
    stale_in_words,
    uses_up_in_words,
)

app = typer.Typer(help="Policies: check one before it is sent anywhere.", no_args_is_help=True)

Departments = Annotated[
    Path, typer.Option(help="Folder with one folder a department (catalog.yaml and its data).")
]


@app.callback()
def _group() -> None:
    """Policies: check one before it is sent anywhere."""


@app.command("check")
def check(
    policy: Annotated[Path, typer.Argument(help="The policy file.")],
    departments: Departments,
    node: Annotated[
        list[Path] | None, typer.Option(help="A node's configuration: say what is left of its budgets.")
    ] = None,
) -> None:
    """Refuse what can be refused without running; run the examples; say what each department would do."""
    catalogs = catalogs_of(load_departments(departments))
    parsed = load_policies([policy])[0]
    checked = check_policy(parsed, catalogs, today())
    reference_date = parsed.reference_date or today()
    examples = run_examples(checked, reference_date)
    show.lines(
        f"{parsed.name}, version {parsed.version}: {parsed.title}",
        [f"{examples} worked examples come out as expected"],
    )
    show.lines("What each department does", plan_in_words(checked))
    show.lines("What it costs", cost_in_words(checked))
    show.lines(
        "What a run uses up, of budgets that each department's node keeps",
        uses_up_in_words(checked, "coordinator"),
    )
    for config in node or ():
        show.lines("What is left", _left(checked, config))
    show.lines("What each party learns", learned_in_words(checked, reference_date))
    stale = stale_in_words(checked, today())
    if stale:
        show.lines("Warning: data that is too old", stale)


def _left(checked: CheckedPolicy, config: Path) -> list[str]:
    from veilmatch_node.desk_access import open_desk  # noqa: PLC0415  needs gRPC, which a policy's author may not have

    with open_desk(config) as desk:
        if desk.name not in checked.tasks:
            return [f"{desk.name} is asked nothing"]
        lines = desk.would_use(checked.plan, checked.tasks[desk.name])
        return [f"{desk.name}: {show.budget(line)}" for line in lines] or [f"{desk.name}: nothing is taken"]
