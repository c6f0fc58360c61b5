"""Metrics: every name is documented with its labels, labels are fixed words, and registries are apart."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import generate_latest

from veilmatch_transport.errors import Code
from veilmatch_transport.metrics import Metrics

ROOT = Path(__file__).parents[2]
STREAM = SimpleNamespace(peer="coordinator", bytes_sent=70, bytes_received=30)


def sample(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


def test_the_document_has_every_metric_with_its_type_and_labels():
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(veilmatch_\w+)` \| (\w+) \|([^|]*)\|", text, re.MULTILINE)
    documented = {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert len(documented) == len(rows)
    have = {}
    for each in Metrics().registry._names_to_collectors.values():
        kind = "gauge" if each._type == "info" else each._type
        name = each._name + {"counter": "_total", "info": "_info"}.get(each._type, "")
        labels = ("release", "role", "member") if each._type == "info" else each._labelnames
        have[name] = (kind, frozenset(labels))
    assert have == documented
    shown = re.findall(r"^# TYPE (\w+) ", generate_latest(Metrics().registry).decode(), re.MULTILINE)
    assert {name for name in shown if name.startswith("process_")} == set(
        re.findall(r"`(process_\w+)`", text)
    )
    assert set(shown) >= documented.keys()
    assert all(name in documented or name.startswith("process_") for name in shown)


def test_tasks_and_their_bytes():
    metrics = Metrics()
    with metrics.task(STREAM) as span:
        assert sample(metrics, "veilmatch_tasks_running") == 1
        span.task, span.outcome = "link", "refused"
    assert sample(metrics, "veilmatch_tasks_running") == 0
    assert sample(metrics, "veilmatch_tasks_total", task="link", outcome="refused") == 1
    assert sample(metrics, "veilmatch_task_seconds_count", task="link") == 1
    assert sample(metrics, "veilmatch_wire_bytes_total", peer="coordinator", direction="sent") == 70
    assert sample(metrics, "veilmatch_wire_bytes_total", peer="coordinator", direction="received") == 30


def test_a_task_that_raises_runs_no_more():
    metrics = Metrics()
    with pytest.raises(KeyError), metrics.task(STREAM):
        raise KeyError
    assert metrics.tasks_running == 0


def test_the_rest():
    metrics = Metrics()
    metrics.refused(Code.DATA_REFUSED)
    metrics.recorded("combined", 0.002)
    metrics.recorded("closed", 0.002)
    metrics.job_ended("failed", None)
    metrics.job_ended("complete", 3.0)
    metrics.queue({"queued": 2, "running": 0}, 61.0)
    metrics.attached(lambda: 4)
    assert sample(metrics, "veilmatch_refusals_total", code="data-refused") == 1
    assert sample(metrics, "veilmatch_chunks_total", step="combined") == 1
    assert sample(metrics, "veilmatch_chunks_total", step="closed") is None
    assert sample(metrics, "veilmatch_log_append_seconds_count") == 2
    assert sample(metrics, "veilmatch_jobs_ended_total", state="failed") == 1
    assert sample(metrics, "veilmatch_job_seconds_count", state="failed") is None
    assert sample(metrics, "veilmatch_job_seconds_sum", state="complete") == 3
    assert sample(metrics, "veilmatch_jobs", state="queued") == 2
    assert sample(metrics, "veilmatch_jobs", state="running") == 0
    assert sample(metrics, "veilmatch_oldest_wait_seconds") == 61
    assert sample(metrics, "veilmatch_attached_nodes") == 4
    assert b"process_open_fds" in generate_latest(metrics.registry)


def test_two_services_in_one_process_count_apart():
    first, second = Metrics(), Metrics()
    first.refused(Code.INTERNAL)
    assert sample(second, "veilmatch_refusals_total", code="internal") is None
