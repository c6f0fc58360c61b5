"""Shows that totals, households, formulas and counts find in a federation whom plain Python finds on one desk."""

import csv
import tempfile
from datetime import date
from pathlib import Path

from fakes.federation import Federation, Given
from formulas import worlds
from hypothesis import Phase, event, given, settings

from veilmatch.grouping import jobs_of
from veilmatch_policy.catalog import parse_catalog
from veilmatch_policy.policy import parse_policy

# Shrinking and explaining a failure would run hundreds of federations, and rows come from a seed.
SETTINGS = settings(phases=[Phase.explicit, Phase.generate])
EXAMPLES = max(2, settings().max_examples // 24)  # a federation costs seconds, and is several policies


def jobs(departments, asked):
    """The policies as `veilmatch local run` would group them: those that share terms in one job."""
    catalogs = {name: parse_catalog(each.catalog().encode(), name) for name, each in departments.items()}
    texts = {each.name: each for each in asked}
    policies = [parse_policy(each.text.encode(), each.name) for each in asked]
    day = date(2025, 12, 31)
    return [[texts[policy.name] for policy in job] for job in jobs_of(policies, catalogs, day)]


def compare(world, mode="shared-key"):
    """Run all policies over one linkage and compare what each reveals."""
    departments, files, asked = world
    tables = {name: Given(each.catalog(), {"people.csv": files[name]}) for name, each in departments.items()}
    with tempfile.TemporaryDirectory() as home, Federation(Path(home), tables, dealer=True) as federation:
        federation.link(mode)
        for job in jobs(departments, asked):
            event(f"{len(job)} policies in a job")
            report = federation.run(*(each.text for each in job))
            for each, result in zip(job, report.results, strict=True):
                event(f"reveals {each.reveal}, {'circuit' if report.seconds['circuit'] else 'linear'}")
                if each.reveal == "count":
                    check_counts(each, departments, result)
                    assert not (federation.out / each.name).exists()  # nothing for the recipient
                else:
                    check_members(each, departments, federation.out / each.name / "eligible.csv")


def check_counts(asked, departments, result):
    """The number that the coordinator is told, or none below the smallest that the policy lets be told."""
    told = [each["eligible"] for each in result["vary"]] if asked.vary else [result["eligible"]]
    smallest = result["min_count"]
    assert told == [count if count >= smallest else None for count in asked.counts(departments)]


def check_members(asked, departments, path):
    """The recipient's list; people of one household, and no others, have one label."""
    found = asked.found(departments)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == found.people
    if "household" in (rows[0] if rows else {}):
        assert len({row["household"] for row in rows}) == found.households


def test_the_eligible_are_those_of_the_plain_answer():
    @settings(SETTINGS, max_examples=EXAMPLES)
    @given(worlds(policies=6))
    def run(world):
        compare(world)

    run()
