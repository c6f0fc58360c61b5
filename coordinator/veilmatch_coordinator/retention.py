"""Evidence that the coordinator no longer keeps (the setting `keep_evidence`)."""

import shutil
from datetime import datetime
from pathlib import Path

from veilmatch_evidence.package import INDEX_SIGNATURE

_GOING = ".going"  # what a crash may leave half removed: no evidence any more, and not taken for any


def give_up_evidence(folder: Path, before: datetime) -> None:
    """Remove the packages, ``POLICY/JOB/``, that were finished before a moment, ciphertexts and all.

    What is not finished yet stays, however old.
    """
    for signature in folder.glob(f"*/*/{INDEX_SIGNATURE}"):
        package = signature.parent
        if signature.stat().st_mtime < before.timestamp() and not package.name.endswith(_GOING):
            package.rename(package.with_name(f"{package.name}{_GOING}"))
    for going in folder.glob(f"*/*{_GOING}"):
        shutil.rmtree(going)
        if not any(going.parent.iterdir()):
            going.parent.rmdir()
