"""Evidence that the coordinator no longer keeps (the setting `keep_evidence`)."""

import shutil
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from veilmatch_evidence.package import INDEX_SIGNATURE

_GOING = ".going"  # beside the folder: what a crash leaves half removed must not be where auditors look


def give_up_evidence(folder: Path, before: datetime) -> None:
    """Remove the packages, ``POLICY/JOB/``, that were finished before a moment, ciphertexts and all.

    What is not finished yet stays, however old.
    """
    going = folder.with_name(f"{folder.name}{_GOING}")
    for signature in folder.glob(f"*/*/{INDEX_SIGNATURE}"):
        package = signature.parent
        if signature.stat().st_mtime < before.timestamp():
            going.mkdir(mode=0o700, exist_ok=True)
            package.rename(going / package.name)
            with suppress(OSError):  # others are in it
                package.parent.rmdir()
    if going.exists():
        shutil.rmtree(going)
