"""What a run takes from the budgets that each department's node keeps, in words."""

from veilmatch_policy.budgets import MILLION, ROWS, costs
from veilmatch_policy.words.language import ENGLISH, Words
from veilmatch_policy.words.seen import SeenPolicy


def uses_up_in_words(seen: SeenPolicy, coordinator: str, say: Words = ENGLISH) -> tuple[str, ...]:
    """What a run uses up in each department that the reader sees: a line a budget."""
    lines = []
    for name, task in sorted(seen.tasks.items()):
        for cost in costs(seen.plan, task, seen.catalogs[name], coordinator=coordinator):
            if cost.kind == "runs":
                runs = say.many(cost.units, "{count} run", "{count} runs")
                taken = (
                    say(
                        "{runs} of who has a row in {table}",
                        runs=runs,
                        table=cost.what.removesuffix(f".{ROWS}"),
                    )
                    if cost.what.endswith(f".{ROWS}")
                    else say(
                        "{runs} of column {what} and whatever has the same source", runs=runs, what=cost.what
                    )
                )
            else:
                taken = say("epsilon {amount} of all its data", amount=f"{cost.units / MILLION:g}")
            lines.append(
                say("{name}: {taken}, for {receiver}", name=name, taken=taken, receiver=cost.receiver)
            )
    return tuple(lines) or (say("nothing"),)
