"""Shows that a recipient sees no amount and no reason: shares and rounds alike, whoever fails, and for whatever."""

from collections import Counter

import numpy as np
import pytest
from fakes.federation import Federation, Given, csv_text
from scipy.stats import chisquare

from veilmatch_node.service import jobs as service

PEOPLE = 40
RUNS = 4  # of one world, over one linkage
UNLIKELY = 1e-7  # a sound test's p-value falls below it once in ten million runs
CATALOG = """
department: {name}
tables:
  people:
    source: people.csv
    id: number
    identifier: opaque
    {household}
    columns:
      home_{name}: {{type: text, release: open}}
      fits_{name}: {{type: integer, release: open, missing: 0, range: [0, 1]}}
      amount_{name}: {{type: decimal(2), release: open, missing: 0, range: [-100000, 100000]}}
"""
POLICY = """
policy: relief
recipient: social
household: {department: police, column: home_police}
conditions:
  fits: {department: tax, where: "fits_tax = 1"}
  hardship: {department: housing, where: "fits_housing = 1"}
  everybody-fits: {department: police, where: "fits_police = 1", members: every}
  poor: {of: household, total: {tax: amount_tax, housing: amount_housing, social: amount_social}, below: 1000}
eligible: "(fits OR hardship) AND everybody-fits AND poor"
"""
NAMES = ("housing", "police", "social", "tax")


def table(name, fits, amount):
    """Ten households of four; everybody has the same answer and the same amount at a department."""
    rows = [(f"p{number:02}", f"h{number % 10}", str(fits), str(amount)) for number in range(PEOPLE)]
    header = ("number", f"home_{name}", f"fits_{name}", f"amount_{name}")
    household = f"household: {{column: home_{name}, at_most: 8}}" if name == "police" else ""
    catalog = CATALOG.format(name=name, household=household)
    return Given(catalog, {"people.csv": csv_text(header, rows)})


def world(fits=(1, 1, 1), amounts=(100, 100, 20)):
    """``fits`` of tax, housing and police; ``amounts`` of tax, housing and social."""
    given = dict(zip(("tax", "housing", "police"), fits, strict=True)) | {"social": 1}
    sums = dict(zip(("tax", "housing", "social"), amounts, strict=True)) | {"police": 0}
    return {name: table(name, given[name], sums[name]) for name in NAMES}


FAILING = {
    "neither fits nor hardship": world(fits=(0, 0, 1)),
    "a member does not fit": world(fits=(1, 1, 0)),
    "an amount too large": world(amounts=(99999.99, 100, 20)),
}


@pytest.fixture
def shares(monkeypatch):
    """What the recipient's circuits begin with: its shares by term, of every run."""
    seen = []
    decide = service.decide

    def watch(recipient, *parts):
        seen.append({term: words.copy() for term, words in recipient.shares().items()})
        return decide(recipient, *parts)

    monkeypatch.setattr(service, "decide", watch)
    return seen


def received(federation):
    """Kind and size of every message to the recipient."""
    return Counter(
        (each.body, len(each.message.SerializeToString()) if each.body == "round" else 0)
        for each in federation.network.passed
        if each.node == "social" and not each.from_node
    )


def no_dummies(monkeypatch):
    monkeypatch.setattr("veilmatch_coordinator.slots._LEAST_DUMMIES", 1)


def test_what_the_recipient_receives_does_not_depend_on_why_somebody_fails(tmp_path, monkeypatch, shares):
    no_dummies(monkeypatch)  # their number is random, and sizes go by it
    views, found = {}, {}
    for case, tables in {**FAILING, "eligible": world()}.items():
        with Federation(tmp_path / case.replace(" ", "-"), tables, dealer=True, dummies=None) as federation:
            federation.link()
            federation.network.passed.clear()
            federation.run(POLICY)
            views[case], found[case] = received(federation), len(federation.eligible("relief"))
    assert found == {**dict.fromkeys(FAILING, 0), "eligible": PEOPLE}
    assert len({tuple(sorted(view.items())) for view in views.values()}) == 1
    assert len(shares) == len(views)


def test_shares_and_rounds_are_uniform_over_runs_with_fixed_data(tmp_path, monkeypatch, shares):
    no_dummies(monkeypatch)
    with Federation(tmp_path, FAILING["an amount too large"], dealer=True, dummies=None) as federation:
        federation.link()
        federation.network.passed.clear()
        for _ in range(RUNS):
            federation.run(POLICY)
            assert federation.eligible("relief") == []
        rounds = [each.content.body for each in federation.network.passed if each.body == "round"]
    for term in shares[0]:
        words = np.array([run[term] for run in shares])
        assert len(np.unique(words)) == words.size  # 160 words of 40 bits: no mask served twice
        octets = np.ascontiguousarray(words, "<u8").view(np.uint8).reshape(-1, 8)[:, :5]
        assert uniform(octets.reshape(-1) >> 4, 16)
    # A layer's size, the households' order and empty bodies are public; what is left are openings and shares.
    openings = b"".join(body for body in rounds if len(body) >= 16 and len(body) not in public_sizes())
    assert uniform(np.frombuffer(openings, np.uint8) >> 4, 16)


def public_sizes():
    """Of the bodies that the coordinator sends in clear: four layers' sizes, and an order of the slots."""
    return {4 * 4, 4 * PEOPLE}


def uniform(values, kinds):
    """Whether a uniform source would give such values, in all but one run of ten million."""
    return chisquare(np.bincount(values, minlength=kinds)).pvalue > UNLIKELY
