"""Shows that a whole federation finds exactly those whom plain Python finds on the joined tables."""

import tempfile
from pathlib import Path
from random import Random

from fakes.federation import Federation, Given
from generated_world import CONDITIONS, DEFAULTS, TYPES, Department, Question, fill
from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st

# Shrinking and explaining a failure would run hundreds of federations, and rows come from a seed.
SETTINGS = settings(phases=[Phase.explicit, Phase.generate])
EXAMPLES = settings().max_examples // 20  # a federation costs a second, and is two policies over many people
SIZES = (2, 3, 3, 4, 5, 7, 10)  # departments: each costs a tenth of a second


@st.composite
def questions(draw, name, names, contributors):
    """A policy over departments of these names."""
    recipient = draw(st.sampled_from(names))
    others = [other for other in names if other != recipient]
    asked = draw(st.permutations(others))[: min(contributors, len(others))]
    asked += [other for other in names if other == recipient and draw(st.booleans())]
    conditions = tuple(
        (department, condition, draw(st.sampled_from((None, None, "pass", "fail"))))
        for department in asked
        for condition in draw(
            st.lists(st.sampled_from(list(CONDITIONS)), min_size=1, max_size=2, unique=True)
        )
    )
    among = draw(st.none() | st.sampled_from(list(CONDITIONS)))
    return Question(name, recipient, among, conditions)


@st.composite
def worlds(draw, sizes=SIZES, largest=60, policies=2):
    """Departments by name, and policies over them."""
    names = [f"d{number:02}" for number in range(draw(st.sampled_from(sizes)))]
    asked = [
        draw(questions(f"q{number}", names, draw(st.sampled_from((1, len(names) // 2 or 1, len(names))))))
        for number in range(policies)
    ]
    alone = any(
        len({department for department, *_ in each.conditions} - {each.recipient}) == 1 for each in asked
    )
    scheme = draw(st.sampled_from(("opaque", "cn-resident-id")))
    random = Random(draw(st.integers(0, 2**32)))
    population = draw(st.integers(0, largest))
    departments = {}
    for name in names:
        missing = {
            column: draw(
                st.sampled_from(
                    (
                        (None, None),
                        (DEFAULTS[column], DEFAULTS[column]),
                        (DEFAULTS[column], None),
                        (None, DEFAULTS[column]),
                    )
                )
            )
            for column in TYPES
        }
        departments[name] = Department(name, scheme, missing, "approval" if alone else "never")
        fill(departments[name], population, random)
    files = {name: department.file(random) for name, department in departments.items()}
    return departments, files, asked


def compare(world, mode):
    """Run every policy over one linkage; how many eligible there are, and how many the recipients have."""
    departments, files, asked = world
    tables = {
        name: Given(department.catalog(), {"people.csv": files[name]})
        for name, department in departments.items()
    }
    found = of = 0
    with tempfile.TemporaryDirectory() as home, Federation(Path(home), tables) as federation:
        federation.link(mode)
        for question in asked:
            federation.run(question.policy())
            expected = question.answer(departments)
            assert federation.eligible(question.name) == expected
            found += len(expected)
            of += len(departments[question.recipient].people)
    return found, of


def test_the_eligible_are_those_of_the_plain_answer():
    found = people = 0

    @settings(SETTINGS, max_examples=EXAMPLES)
    @given(worlds())
    def run(world):
        nonlocal found, people
        event(f"{len(world[0])} departments")
        some, of = compare(world, "shared-key")
        found, people = found + some, people + of

    run()
    assert people / 20 < found < people / 2  # neither nobody nor everybody: the comparison says something


@settings(SETTINGS, max_examples=2)
@given(worlds(sizes=(2, 3), largest=12, policies=1))
def test_the_eligible_are_those_of_the_plain_answer_through_the_oprf(world):
    compare(world, "oprf")


@settings(SETTINGS, max_examples=1)
@given(worlds(sizes=(12,), largest=60, policies=1))
def test_a_dozen_departments(world):
    compare(world, "shared-key")
