"""Who lives with whom at the register: labels by slot, first slots, collective households, empty cells."""

import numpy as np
import pytest
from department_files import ANNA, BODO, CARL, DAY, DORA

from veilmatch_node.errors import DataError
from veilmatch_node.households import read_households
from veilmatch_node.people import UNKNOWN
from veilmatch_node.source import load
from veilmatch_policy.catalog import parse_catalog

CATALOG = """
department: police
tables:
  residents:
    source: residents.csv
    id: id
    identifier: cn-resident-id
    household: {{column: home, at_most: {at_most}, larger: single}}
    columns:
      age: {{type: integer}}
  visitors:
    source: visitors.csv
    id: id
    identifier: cn-resident-id
    columns: {{}}
"""
PADDED = 12


@pytest.fixture
def register(tmp_path):
    """A register loaded from rows (id, home), and visitors; closed at the end."""
    loaded = []

    def load_rows(rows, *, at_most=3, visitors=()):
        lines = [f"{person},{home},40\n" for person, home in rows]
        (tmp_path / "residents.csv").write_text("id,home,age\n" + "".join(lines))
        (tmp_path / "visitors.csv").write_text("id\n" + "".join(f"{person}\n" for person in visitors))
        catalog = parse_catalog(CATALOG.format(at_most=at_most).encode(), "police/catalog.yaml")
        loaded.append(load(catalog, tmp_path, needed={"age"}, household=True, reference_date=DAY))
        return loaded[-1]

    yield load_rows
    for department in loaded:
        department.connection.close()


def placed(department, **slots):
    """Slots in the order of the department's people, by the person's name."""
    of = dict(zip((ANNA, BODO, CARL, DORA), ("anna", "bodo", "carl", "dora"), strict=True))
    return np.array(
        [slots.get(of[form], int(UNKNOWN)) for form in department.identifiers.to_pylist()], np.uint32
    )


def test_one_label_a_household_fresh_each_time_and_none_for_strangers(register):
    department = register([(ANNA, "h1"), (BODO, "h2"), (CARL, " h1 "), (DORA, "h3")])
    slots = placed(department, anna=7, bodo=2, carl=4, dora=11)
    households = read_households(department, slots, PADDED)
    labels = households.labels
    assert labels[7] == labels[4]  # blanks around a label say nothing
    assert len({int(labels[slot]) for slot in (7, 2, 11)}) == 3
    assert np.flatnonzero(labels).tolist() == [2, 4, 7, 11]
    assert np.array_equal(households.strangers, labels == 0)
    assert sorted(households.first.tolist()) == [2, 4, 11]  # the lowest slot of each
    assert households.count == 3
    assert repr(households) == "Households(3)"
    drawn = set()
    for _ in range(20):
        department.connection.execute("DROP TABLE members")
        drawn.add(read_households(department, slots, PADDED).labels.tobytes())
    assert len(drawn) > 1  # three households have six orders


def test_a_collective_household_is_so_many_single_ones(register):
    rows = [(person, "barracks") for person in (ANNA, BODO, CARL)]
    slots = {"anna": 0, "bodo": 1, "carl": 2, "dora": 3}
    for at_most, count in ((2, 4), (3, 2)):
        department = register([*rows, (DORA, "h")], at_most=at_most)
        households = read_households(department, placed(department, **slots), PADDED)
        assert households.count == count
        assert len(set(households.labels[:4].tolist())) == count
        members = department.connection.execute("SELECT count(DISTINCT household) FROM members").fetchone()
        assert members == (count,)  # what aggregates range over


def test_whoever_has_no_slot_has_no_place(register):
    department = register([(ANNA, "h1"), (BODO, "h1"), (CARL, "h2")])
    households = read_households(department, placed(department, bodo=5), PADDED)
    assert np.flatnonzero(households.labels).tolist() == [5]
    assert sorted(households.first.tolist()) == [5, int(UNKNOWN)]
    spread = households.spread(np.array([10, 20, 99]), others=0)
    [number] = np.flatnonzero(households.first == 5)
    assert spread[5] == (10, 20)[number]
    assert (np.delete(spread, 5) == 99).all()  # everybody else is a stranger


def test_a_value_a_household_stands_at_its_lowest_slot_and_strangers_have_theirs(register):
    """Whom the department knows from another table alone is no stranger, and lives in a household of her own."""
    department = register([(ANNA, "h1"), (BODO, "h1"), (CARL, "h2")], visitors=[DORA])
    slots = placed(department, anna=9, bodo=3, carl=1, dora=6)
    households = read_households(department, slots, PADDED)
    assert sorted(households.first.tolist()) == [1, 3, 6]
    values = np.full(4, 5)
    for slot, value in ((3, 31), (1, 11), (6, 61)):
        values[np.flatnonzero(households.first == slot)] = value
    expected = np.full(PADDED, 5)  # the last value is for strangers
    expected[[9, 3, 1, 6]] = [0, 31, 11, 61]
    assert np.array_equal(households.spread(values, others=0), expected)
    assert len(set(households.labels[[3, 1, 6]].tolist())) == 3


def test_an_empty_register(register):
    department = register([])
    households = read_households(department, placed(department), PADDED)
    assert households.count == 0
    assert not households.labels.any()
    assert households.strangers.all()
    assert (households.spread(np.array([4]), others=0) == 4).all()


@pytest.mark.parametrize("empty", ["", "  "])
def test_somebody_without_a_household_is_refused_without_a_number(register, empty):
    department = register([(ANNA, "h1"), (BODO, empty)])
    with pytest.raises(DataError) as caught:
        read_households(department, placed(department, anna=0, bodo=1), PADDED)
    assert caught.value.public == (
        "police: household: the household column is empty for somebody; "
        "fill it in; a person alone is a household of one (the node's log says more)"
    )
    assert BODO not in str(caught.value) + caught.value.public


def test_no_expression_of_a_policy_sees_the_labels(register):
    department = register([(ANNA, "h1")])
    columns = [name for name, *_ in department.connection.execute('DESCRIBE "t_residents"').fetchall()]
    assert columns == ["person", "unreadable", "age"]
