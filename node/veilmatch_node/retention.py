"""Results that a recipient no longer keeps (the setting `keep_results`)."""

from datetime import datetime
from pathlib import Path

from veilmatch_node.results import ELIGIBLE, RESULT


def give_up_results(folder: Path, before: datetime) -> None:
    """Remove the results that were written before a moment, and their folders where nothing else is in them."""
    for name in (ELIGIBLE, RESULT):  # a list never stands without its result
        for path in folder.glob(f"*/{name}"):
            if path.stat().st_mtime < before.timestamp():
                path.unlink()
                if not any(path.parent.iterdir()):
                    path.parent.rmdir()
