"""`veilmatch local`: a whole federation on this machine."""

import json
from pathlib import Path
from typing import Annotated

import typer

from veilmatch import show
from veilmatch.commands.choices import KeyBits, LinkageMode, SlotMode
from veilmatch.departments import catalogs_of, check_everything, load_departments, load_policies, today
from veilmatch.grouping import jobs_of, needs_extra_dealer

app = typer.Typer(help="A whole federation on this machine.", no_args_is_help=True)

Departments = Annotated[
    Path, typer.Option(help="Folder with one folder a department (catalog.yaml and its data).")
]


@app.callback()
def _group() -> None:
    """A whole federation on this machine."""


@app.command("run")
def local_run(
    policies: Annotated[list[Path], typer.Argument(help="Policy files, run in this order over one linkage.")],
    departments: Departments,
    out: Annotated[Path, typer.Option(help="Folder for results, reports, evidence and logs.")],
    linkage: Annotated[LinkageMode, typer.Option(help="How people are matched.")] = LinkageMode.oprf,
    key_bits: Annotated[
        KeyBits, typer.Option(help="Length of the recipient's Paillier modulus.")
    ] = KeyBits.usual,
    slots: Annotated[
        SlotMode, typer.Option(help="Whose people get slots: everybody's, or the household register's alone.")
    ] = SlotMode.union,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Worker processes of each member.")] = 1,
    approvals: Annotated[
        Path | None,
        typer.Option(help="Folder of the officers' keys and signed decisions; without it nobody is asked."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Run policies in a whole federation on this machine, one process a member, mutual TLS between them."""
    from veilmatch.officers import Officers  # noqa: PLC0415  same as below
    from veilmatch.running import RunSettings, local_federation, register_of  # noqa: PLC0415  needs gRPC, which `policy check` does not

    parsed = load_policies(policies)
    loaded = load_departments(departments)
    check_everything(loaded, parsed)
    settings = RunSettings(linkage.value, int(key_bits.value), workers, slots.value)
    register = register_of(parsed, settings)
    catalogs = catalogs_of(loaded)
    jobs = jobs_of(parsed, catalogs, today())
    extra_dealer = needs_extra_dealer(jobs, catalogs, today())
    officers = None if approvals is None else Officers(approvals)
    show.trust(alone=officers is None, extra_dealer=extra_dealer)
    results: dict[str, dict[str, object]] = {}
    with local_federation(
        loaded, out, settings, extra_dealer=extra_dealer, register=register, officers=officers
    ) as federation:
        with show.bars(f"Linkage: {settings.linkage}") as bars:
            federation.link(settings, bars.step)
        for job in jobs:
            with show.bars("; ".join(f"{policy.name}: {policy.title}" for policy in job)) as bars:
                found = federation.run(job, settings.key_bits, bars.step)
            results |= {policy.name: result for policy, result in zip(job, found, strict=True)}
    ordered = [results[policy.name] for policy in parsed]
    if as_json:
        show.output.print_json(json.dumps(ordered, ensure_ascii=False))
    else:
        show.results([show.row_of(result) for result in ordered])
