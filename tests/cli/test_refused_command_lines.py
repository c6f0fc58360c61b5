"""Exit codes 2 and 3: every way of being wrong that shows without a run is one line that says what to do."""

import pytest
from command_line import run, run_here
from processes.small_world import POLICIES, SUPPLEMENT, TAX, write_departments, write_policy

ONE = ("policy", "check", "supplement.yaml", "--departments", "departments")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A working directory with three departments and their policies."""
    write_departments(tmp_path / "departments")
    for name in POLICIES:
        write_policy(tmp_path, name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_policy_that_is_fine(capsys):
    ended = run_here(capsys, *ONE)
    assert (ended.code, ended.err) == (0, "")
    text = ended.out
    assert "supplement, version 3: Supplement for old people with a small income" in text
    assert "2 worked examples come out as expected" in text
    assert "tax: reads wage (table income); computes one yes/no a person" in text
    assert "sends one masked 40-bit number a slot" in text
    assert "coordinator: the policy, the sizes of the tables" in text


LOCAL = ("local", "run", "supplement.yaml", "--departments", "departments", "--out", "out")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "command"),
        (("local",), "command"),
        (("nonsense",), "No such command 'nonsense'"),
        (("policy", "check", "supplement.yaml"), "Missing option '--departments'"),
        (("local", "run", "--departments", "departments", "--out", "out"), "Missing argument"),
        ((*LOCAL[:-2],), "Missing option '--out'"),
        ((*LOCAL, "--colour"), "No such option: --colour"),
        ((*LOCAL, "--key-bits", "1024"), "'1024' is not one of '2048', '3072'"),
        ((*LOCAL, "--linkage", "names"), "'names' is not one of 'oprf', 'shared-key'"),
        ((*LOCAL, "--workers", "0"), "'--workers'"),
        ((*LOCAL, "--workers", "many"), "'--workers'"),
        ((*LOCAL[:4], "nowhere", *LOCAL[5:]), "nowhere: holds no department"),
        ((*LOCAL[:2], "missing.yaml", *LOCAL[3:]), "missing.yaml: is no file"),
        ((*LOCAL[:2], "departments", *LOCAL[3:]), "departments: is no file"),
        ((*LOCAL[:3], *LOCAL[2:]), "supplement: is the name of two policies"),
        ((*LOCAL[:-1], "supplement.yaml"), "supplement.yaml: "),
        (("node", "serve"), "Missing option '--config'"),
        (("node", "serve", "--config", "missing.toml"), "missing.toml: cannot be read"),
        (("coordinator", "serve", "--config", "supplement.yaml"), "supplement.yaml: is not TOML"),
    ],
)
def test_a_wrong_command_line(capsys, here, arguments, said):
    ended = run_here(capsys, *arguments)
    assert ended.code == 2
    assert said in ended.line(quiet=said != "supplement.yaml: ")
    assert not (here / "out").exists()


def test_two_folders_of_one_department(capsys, here):
    (here / "departments" / "tax").rename(here / "departments" / "revenue")
    write_departments(here / "more")
    (here / "more" / "tax").rename(here / "departments" / "tax")
    ended = run_here(capsys, *ONE)
    assert ended.code == 2
    assert "tax has two folders" in ended.line()


def test_a_department_with_the_name_of_another_member(capsys, here):
    path = here / "departments" / "tax" / "catalog.yaml"
    path.write_text(TAX.replace("department: tax", "department: coordinator"))
    ended = run_here(capsys, *ONE)
    assert ended.code == 2
    assert "coordinator is the name of another member" in ended.line()


def asked(where):
    """The supplement's policy with another question to the tax bureau."""
    assert SUPPLEMENT.count('"wage < :line"') == 1
    return ("supplement.yaml", SUPPLEMENT.replace('"wage < :line"', f'"{where}"'))


def changed(old, new):
    assert SUPPLEMENT.count(old) == 1
    return ("supplement.yaml", SUPPLEMENT.replace(old, new))


def catalog(old, new):
    assert TAX.count(old) == 1
    return ("departments/tax/catalog.yaml", TAX.replace(old, new))


def total(condition):
    """The supplement's policy with a total in the place of its question to the tax bureau."""
    return changed('{department: tax, where: "wage < :line"}', condition)


def with_households(key):
    """The supplement's policy with a register of households and a condition that needs it."""
    register = "household: {department: police, column: home}\nconditions:"
    text = SUPPLEMENT.replace("conditions:", register)
    return ("supplement.yaml", text.replace("{department: tax", f"{{{key}, department: tax"))


REFUSED = {
    "never-column": (
        changed('"age >= 65"', "\"note = 'x'\""),
        "supplement: conditions.old.where: note of police is not shared (release: never); there is age",
    ),
    "unknown column": (
        asked("wages < 3"),
        "supplement: conditions.low-wage.where: tax has no column 'wages'; did you mean 'wage'?",
    ),
    "other department's column": (
        asked("age < 3"),
        "'age' is a column of police; this condition is asked of tax; ask police in a condition of its own",
    ),
    "subquery": (asked("wage < (SELECT 1)"), "conditions.low-wage.where"),
    "unlisted function": (asked("sqrt(wage) < 3"), "sqrt"),
    "several statements": (asked("wage < 3; DROP TABLE income"), "conditions.low-wage.where"),
    "type mismatch": (asked("wage < 'x'"), "conditions.low-wage.where"),
    "a number where a condition is asked": (asked("wage + 1"), "conditions.low-wage.where"),
    "duplicate key": (changed("version: 3\n", "version: 3\nversion: 4\n"), "the key 'version' stands twice"),
    "typo in a key": (changed("recipient:", "recipent:"), "did you mean 'recipient'?"),
    "unknown department": (changed("department: tax", "department: tacks"), "there is no department 'tacks'"),
    "empty file": (("supplement.yaml", ""), "supplement.yaml: the file is empty"),
    "an example that comes out otherwise": (changed("{age: 64}", "{age: 65}"), "supplement: examples.2"),
    "a catalog with a typo": (catalog("identifier:", "identifer:"), "did you mean 'identifier'?"),
    "a catalog with a key twice": (
        catalog("id: id_number\n", "id: id_number\n    id: x\n"),
        "the key 'id' stands",
    ),
    "an empty catalog": (("departments/tax/catalog.yaml", ""), "tax/catalog.yaml: the file is empty"),
    "a total without a bound": (total("{total: {tax: wage}}"), "a total has one bound, not 0; write one of"),
    "a total and two bounds": (
        total("{total: {tax: wage}, below: 5, above: 3}"),
        "conditions.low-wage: a total has one bound, not 2; write one of below, at_most, above, at_least",
    ),
    "a bound that is no parameter": (
        total('{total: {tax: wage}, below: ":lime"}'),
        "there is no parameter 'lime'; did you mean 'line'?",
    ),
    "a total that 40 bits do not hold": (
        total('{total: {tax: "wage * 1000000"}, below: ":line"}'),
        "supplement: conditions.low-wage.total",
    ),
    "members without a register": (
        changed("{department: tax", "{members: any, department: tax"),
        "needs to know the households; write the key household",
    ),
    "of household, of another department than the register": (
        with_households("of: household"),
        "tax does not keep the household register, police does; write members: every or members: any",
    ),
    "a register that is none": (
        with_households("members: any"),
        "supplement: household: police keeps no household register; ask the department whose catalog has one",
    ),
    "NOT of what may be missing": (
        changed("examples:", "eligible: old AND low-wage AND NOT small-pension\nexamples:"),
        "its value may be missing in social, and it stands under NOT or at_least; write unknown: fail",
    ),
    "a smallest count where members are revealed": (
        changed("version: 3\n", "version: 3\nmin_count: 5\n"),
        "min_count is for counts; write reveal: count, or leave it out",
    ),
    "noise without end": (
        changed("version: 3\n", "version: 3\nreveal: count\nepsilon: 0\n"),
        "epsilon is above 0; write 0.5, say",
    ),
}


@pytest.mark.parametrize("way", REFUSED)
def test_a_policy_or_catalog_that_is_refused(capsys, here, way):
    (name, text), said = REFUSED[way]
    (here / name).write_text(text, encoding="utf-8")
    ended = run_here(capsys, *ONE)
    assert (ended.code, ended.out) == (3, "")
    assert said in ended.line()
    # A run refuses the same before it starts a process.
    again = run_here(capsys, *LOCAL)
    assert again == ended
    assert not (here / "out").exists()


@pytest.mark.parametrize("way", ["never-column", "empty file"])
def test_so_does_a_real_process(here, way):
    (name, text), said = REFUSED[way]
    (here / name).write_text(text, encoding="utf-8")
    ended = run(*ONE, cwd=here)
    assert (ended.code, ended.out) == (3, "")
    assert said in ended.line()


def test_a_real_process_with_a_wrong_command_line(here):
    ended = run(*LOCAL, "--colour", cwd=here)
    assert (ended.code, ended.out) == (2, "")
    assert "No such option: --colour" in ended.line()
