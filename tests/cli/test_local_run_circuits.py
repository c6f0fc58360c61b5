"""`veilmatch local run` of policies that need circuits: a dealer's process more, households, counts, a what-if."""

import csv
import json
from collections import defaultdict
from datetime import date
from decimal import Decimal

import pytest
from command_line import run
from processes.small_world import PEOPLE, POLICE, write_departments, write_policy

from veilmatch.departments import load_departments, load_policies
from veilmatch.plaintext import eligible

FAST = ("--linkage", "shared-key", "--key-bits", "2048")
LINE = Decimal(9000)
LINES = (2000, 9000, 60000)

REGISTER = POLICE.replace(
    "    columns:\n",
    "    household: {column: home, at_most: 4, larger: single}\n    columns:\n      home: {type: text}\n",
)
EITHER = """\
policy: either
recipient: social
among: "pension > 0"
household: {department: police, column: home}
parameters: {line: 9000}
conditions:
  old: {department: police, where: "age >= 65"}
  low: {of: household, total: {tax: wage, social: "coalesce(pension, 0)"}, below: ":line"}
  idle: {department: tax, where: "wage = 0"}
eligible: old AND (low OR idle)
"""
HOMES = """\
policy: homes
recipient: social
unit: household
household: {department: police, column: home}
conditions:
  low: {total: {tax: wage, social: "coalesce(pension, 0)"}, below: 9000}
  elder: {department: police, where: "max(age) >= 80"}
"""
HOW_MANY = EITHER.replace("policy: either", "policy: how-many") + "reveal: count\nmin_count: 1\n"
AT_LINES = HOW_MANY.replace("policy: how-many", "policy: at-lines") + f"vary: {{line: {list(LINES)}}}\n"
POLICIES = {"either": EITHER, "homes": HOMES, "how-many": HOW_MANY, "at-lines": AT_LINES}
REVEALED = ("either", "homes")


def home(number):
    """The label of a household as the register writes it; one is a hostel of twelve, which is twelve households."""
    return "hostel" if number % 5 == 0 else f"h{number // 3}"


def households():
    """The people by household: each whom the register does not know is one of its own."""
    found = defaultdict(list)
    for number, person in enumerate(PEOPLE):
        known = person.age is not None and home(number) != "hostel"
        found[home(number) if known else number].append(person)
    return list(found.values())


def income(people):
    return sum(Decimal(person.wage or 0) + Decimal(person.pension or 0) for person in people)


def plain_either(line=LINE):
    return sorted(
        person.id
        for people in households()
        for person in people
        if person.pension is not None and Decimal(person.pension) > 0
        if (person.age or 0) >= 65 and (income(people) < line or not person.wage)
    )


def plain_homes():
    """The recipient's people of eligible households, household by household."""
    return [
        [person.id for person in people if person.pension is not None]
        for people in households()
        if income(people) < LINE and max(person.age or 0 for person in people) >= 80
        if any(person.pension is not None for person in people)
    ]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """All policies in one run; JSON is printed."""
    folder = tmp_path_factory.mktemp("circuits")
    write_departments(folder / "departments", police=REGISTER)
    rows = [f"{p.id},{p.age},{home(n)},\n" for n, p in enumerate(PEOPLE) if p.age is not None]
    path = folder / "departments" / "police" / "residents.csv"
    path.write_text("citizen,age,home,note\n" + "".join(rows), encoding="utf-8")
    policies = [write_policy(folder, name, text) for name, text in POLICIES.items()]
    arguments = ("--departments", folder / "departments", "--out", folder / "out", *FAST, "--json")
    ended = run("local", "run", *policies, *arguments)
    assert ended.code == 0, ended.err
    return folder, {result["policy"]: result for result in json.loads(ended.out)}, ended


def rows(folder, policy):
    with (folder / "out" / policy / "eligible.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_process_without_data_deals_and_it_is_said(ran):
    folder, results, ended = ran
    assert "Every department has a part in some policy, so one process more" in ended.err
    assert (folder / "out" / "logs" / "dealer.log").exists()
    assert list(results) == list(POLICIES)  # in the order of the command line
    for result in results.values():
        assert result["departments"] == ["dealer", "police", "social", "tax"]
        assert result["status"] == "complete"
        assert result["seconds"]["circuit"] > 0
        assert result["bytes"]["dealer"]["sent"] > 0
        assert result["households"] >= len(households())  # dummies are households too
        assert result["persons"] >= result["households"]


def test_the_eligible_are_the_plain_ones(ran):
    folder, results, _ = ran
    expected = plain_either()
    assert 3 < len(expected) < 25
    assert [row["id"] for row in rows(folder, "either")] == expected
    assert results["either"]["eligible"] == len(expected)
    departments = load_departments(folder / "departments")
    for policy in load_policies([folder / f"{name}.yaml" for name in REVEALED]):
        found = [row["id"] for row in rows(folder, policy.name)]
        assert eligible(policy, departments, date(2025, 12, 31)).identifiers == found


def test_eligible_households_have_a_label_each_that_says_nothing(ran):
    folder, results, _ = ran
    expected = plain_homes()
    assert len(expected) > 2
    assert any(len(people) > 1 for people in expected)
    found = defaultdict(list)
    for row in rows(folder, "homes"):
        found[row["household"]].append(row["id"])
    assert sorted(found.values()) == sorted(sorted(people) for people in expected)
    assert results["homes"]["eligible"] == len(expected)
    assert all(0 < int(label) < 2**32 for label in found)
    assert max(map(int, found)) > 1000  # random, and not counted from 1


def test_a_count_is_in_the_result_and_nobody_is_listed(ran):
    folder, results, _ = ran
    result = results["how-many"]
    assert (result["eligible"], result["min_count"]) == (len(plain_either()), 1)
    expected = [{"bound": str(line), "eligible": len(plain_either(line)) or None} for line in LINES]
    assert len({each["eligible"] for each in expected}) == len(LINES)
    assert results["at-lines"]["vary"] == expected
    assert results["at-lines"]["eligible"] is None
    for name in ("how-many", "at-lines"):
        place = folder / "out" / name
        assert [path.name for path in place.iterdir()] == ["result.json"]
        assert json.loads((place / "result.json").read_text(encoding="utf-8")) == results[name]


def test_policies_that_share_sums_are_one_job_and_its_evidence_tells_counts_only(ran):
    folder, results, _ = ran
    jobs = {name: result["job"] for name, result in results.items()}
    assert len({jobs[name] for name in ("either", "how-many", "at-lines")}) == 1
    copies = {}
    for path in (folder / "out" / "evidence").rglob("report.json"):
        for copy in json.loads(path.read_text(encoding="utf-8")):
            copies[copy["policy"]] = copy
    assert copies.keys() == POLICIES.keys()
    for name, copy in copies.items():
        assert copy["job"] == jobs[name]
        assert ("eligible" in copy or "vary" in copy) == (name not in REVEALED)
    for path in (folder / "out" / "evidence").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not any(person.id.encode() in data for person in PEOPLE)
