"""Alert rules: they rest on metrics that there are, and each says what to do."""

import re
from pathlib import Path

import yaml

from veilmatch_transport.metrics import Metrics

ROOT = Path(__file__).parents[2]
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "veilmatch.rules.yml").read_text())["groups"][0][
    "rules"
]

# Prometheus's own, and what prometheus-client says of every process.
FOREIGN = {"up", "process_open_fds", "process_max_fds"}
SYNTAX = {"abs", "by", "histogram_quantile", "increase", "rate", "sum", "time"}


def exposed():
    """Every name under which a scrape finds something."""
    names = set()
    for family in Metrics().registry.collect():
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "info": ("_info",)}
        names |= {family.name + ending for ending in endings.get(family.type, ("",))}
    return names


def test_every_metric_exists():
    there = exposed()
    for rule in RULES:
        bare = re.sub(r'\{.*?\}|"[^"]*"|\[\w+\]|\b(by|on) \([^)]*\)', " ", rule["expr"])
        for name in set(re.findall(r"[a-z_]{2,}", bare)) - SYNTAX - FOREIGN:
            assert name in there, f"{rule['alert']}: {name}"


def test_labels_that_rules_use_are_metrics_labels():
    metrics = Metrics()
    names = {name for family in vars(metrics).values() for name in getattr(family, "_labelnames", ())}
    for rule in RULES:
        used = set(re.findall(r'(\w+)=~?"', rule["expr"]))
        shown = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        assert used | shown <= names | {"job", "instance"}, rule["alert"]


def test_every_alert_says_who_is_to_act_and_what_to_do():
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"].keys() == {"summary", "remedy"}
        assert "{{ $labels.instance }}" in rule["annotations"]["summary"]
