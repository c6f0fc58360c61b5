"""`veilmatch evidence`: what an auditor runs, offline, over the evidence and nothing else."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from veilmatch import show
from veilmatch.errors import UsageError
from veilmatch_crypto import key_fingerprint
from veilmatch_evidence.ciphertexts import Progress
from veilmatch_evidence.replay import replay
from veilmatch_evidence.verify import Verified, verify

app = typer.Typer(
    help="Evidence: what was done, checked without any party's help (protocol.md, 7).", no_args_is_help=True
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A job's evidence, or a folder of several.")]
RootPrint = Annotated[
    str | None,
    typer.Option("--root", help="The fingerprint of the federation's root, as its office said it."),
]

_FINGERPRINT = 32  # bytes of a SHA-256


@app.callback()
def _group() -> None:
    """Evidence: what was done, checked without any party's help."""


@app.command("verify")
def evidence_verify(folder: Folder, root: RootPrint = None) -> None:
    """Check logs, signatures, approvals, budgets, and that all parties' records agree with each other and the files."""
    _check(verify, folder, root, "verified")


@app.command("replay")
def evidence_replay(folder: Folder, root: RootPrint = None) -> None:
    """Verify, then multiply the ciphertexts again and compare with the coordinator's products, bit for bit."""
    _check(replay, folder, root, "verified and multiplied again")


def _check(
    function: Callable[[Path, bytes | None, Progress | None], list[Verified]],
    folder: Path,
    root: str | None,
    done: str,
) -> None:
    expected = None if root is None else _fingerprint(root)
    with show.bars(f"Evidence in {folder}") as bars:

        def step(job: str, at: int, total: int) -> None:
            bars.step("chunks", job, at, total)

        jobs = function(folder, expected, step)
    for job in jobs:
        _tell(job, done)
    for key in sorted({job.root for job in jobs}):
        text = (
            "It is the one that was given."
            if expected is not None
            else "Compare it with the federation's office."
        )
        show.lines(
            "All of it rests on the root key with this fingerprint",
            [show.spoken(key_fingerprint(key)), text],
        )


def _tell(job: Verified, done: str) -> None:
    """Say what of a job was checked, and what nobody can check from here."""
    folder = "".join(c if c.isprintable() else "?" for c in str(job.folder))  # whoever made it chose its name
    show.lines(
        f"{job.job}: {job.status}, trust: {job.trust}",
        [
            f"evidence: {folder}",
            f"policies: {', '.join(job.policies) or 'none: it ended before it had a manifest'}",
            f"parties: {', '.join(job.parties) or 'none left a record'}",
            f"records: {job.records} read, {job.withheld} of other jobs in between",
            f"approvals: {job.approved} in force when departments took part",
            f"no approval: {job.unapproved} times, which rests on the department's word that it needs none",
            f"chunks: {job.chunks} {done}",
        ],
    )


def _fingerprint(text: str) -> bytes:
    try:
        value = bytes.fromhex(re.sub(r"[\s:-]", "", text))
    except ValueError:
        value = b""
    if len(value) != _FINGERPRINT:
        raise UsageError("--root: is no fingerprint of 64 hex digits; ask the federation's office for it")
    return value
