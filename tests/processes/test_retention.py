"""What is kept for so many days is given up then, and nothing else: results, evidence, the text of old log records."""

import os
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import TypeAdapter, ValidationError
from structlog.testing import capture_logs

from veilmatch_coordinator.config import CoordinatorConfig
from veilmatch_coordinator.retention import give_up_evidence
from veilmatch_evidence.package import INDEX, INDEX_SIGNATURE
from veilmatch_node.config import NodeConfig
from veilmatch_node.retention import give_up_results
from veilmatch_transport.retention import retaining

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def write(path, days):
    """A file that was written some days ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    at = (NOW - timedelta(days=days)).timestamp()
    os.utime(path, (at, at))


def left(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_results(tmp_path):
    for policy, days in (("old", 31), ("new", 29), ("noted", 31)):
        write(tmp_path / policy / "result.json", days)
        write(tmp_path / policy / "eligible.csv", days)
    write(tmp_path / "noted" / "why.txt", 99)
    write(tmp_path / "linkage.json", 99)
    give_up_results(tmp_path, NOW - timedelta(days=30))
    assert left(tmp_path) == ["linkage.json", "new/eligible.csv", "new/result.json", "noted/why.txt"]
    assert not (tmp_path / "old").exists()


def test_evidence(tmp_path, monkeypatch):
    evidence, going = tmp_path / "evidence", tmp_path / "evidence.going"
    for job, days in (("aid/1", 31), ("aid/2", 29), ("card/3", 31)):
        for name in (INDEX, INDEX_SIGNATURE, "products/0-0.bin"):
            write(evidence / job / name, days)
    kept = {"aid/2", "aid/2/products"}

    def killed(folder):
        (folder / "1" / INDEX).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr("shutil.rmtree", killed)
        give_up_evidence(evidence, NOW - timedelta(days=30))
    assert going.exists()
    assert {name.rsplit("/", 1)[0] for name in left(evidence)} == kept  # nothing half removed for auditors
    assert not (evidence / "card").exists()
    give_up_evidence(evidence, NOW - timedelta(days=30))
    assert not going.exists()
    assert {name.rsplit("/", 1)[0] for name in left(evidence)} == kept


def test_a_sweep_that_fails_is_said_and_the_others_go_on():
    done = threading.Event()
    seen = []

    def fails(_before):
        raise OSError(28, "No space left on device: ZEISIG00007")

    def works(before):
        seen.append(before)
        done.set()

    with (
        capture_logs() as logs,
        retaining({"evidence": (3, fails), "results": (None, fails), "log": (400, works)}, lambda: NOW),
    ):
        assert done.wait(5)
    assert seen == [NOW - timedelta(days=400)]
    [line] = logs
    assert (line["event"], line["kind"]) == ("not given up yet", "evidence")
    assert line["reason"].startswith("No space left on device at retention.py:")


@pytest.mark.parametrize("model", [NodeConfig, CoordinatorConfig])
def test_texts_of_the_log_are_kept_for_longer_than_budgets_look_back(model):
    setting = TypeAdapter(model.model_fields["keep_log"].annotation)
    assert setting.validate_python(400) == 400
    with pytest.raises(ValidationError, match="greater than or equal to 400"):
        setting.validate_python(399)
