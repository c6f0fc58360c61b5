"""What `veilmatch bench` makes of what was measured: earlier reports, tables, plots, the page."""

import json
import re
from io import StringIO
from xml.etree import ElementTree as ET

import pytest
from command_line import run_here
from rich.console import Console

from veilmatch.bench.changes import changes
from veilmatch.bench.report import BYTES, Case, ExperimentReport, Measure, Report, Role, read_report
from veilmatch.bench.svg import Point, Scale, lines, ranges, shares
from veilmatch.bench.tables import Places, of_experiment
from veilmatch.bench.wording import counted, each, number
from veilmatch.bench.writing import show_report, write_report

SVG = "{http://www.w3.org/2000/svg}"


# Reports.


def report_of(*seconds: float, title: str = "") -> Report:
    measures = (
        Measure(name="veilmatch", role=Role.OURS, items=10, samples=seconds),
        Measure(name="bare", role=Role.FLOOR, items=5, samples=tuple(1.0 for _ in seconds)),
    )
    case = Case(parameters={"people": 10}, item="person", measures=measures)
    experiment = ExperimentReport(name="a", kind="linkage", title=title, rounds=len(seconds), cases=(case,))
    machine = {"processor": "", "cores": 1, "memory_bytes": 1, "system": "", "python": "", "load": 0}
    return Report(title=title, began="", ended="", machine=machine, versions={}, experiments=(experiment,))


def test_a_report_is_read_as_it_was_written(tmp_path):
    (tmp_path / "report.json").write_text(report_of(1.0, 2.0).to_json())
    assert read_report(tmp_path / "report.json") == report_of(1.0, 2.0)


def test_changes_are_medians_and_apart_where_samples_do_not_meet():
    time, ratio = changes(report_of(2.0, 4.0, 3.0), report_of(1.0, 1.5, 1.9))
    assert (time.figure, time.unit, time.ratio, time.apart) == ("time a person", "s", 2.0, True)
    assert (ratio.figure, ratio.ratio) == ("ours / bare", 2.0)
    assert ratio.now.median == 3.0 / 10 / (1.0 / 5)  # an item each
    time, _ = changes(report_of(2.0, 1.8), report_of(1.0, 1.9))
    assert not time.apart
    assert changes(report_of(1.0), None) == []


@pytest.mark.parametrize(
    ("samples", "why"),
    [
        ([0.0, 1.0], "a sample that is held against another is 0"),
        ([1.0], "different numbers of samples"),
        ([-1.0, 1.0], "greater than or equal to 0"),
    ],
)
def test_an_earlier_report_that_cannot_be_compared_is_refused_before_measuring(
    tmp_path, capsys, samples, why
):
    report = json.loads(report_of(1.0, 2.0).to_json())
    report["experiments"][0]["cases"][0]["measures"][1]["samples"] = samples
    (tmp_path / "r.json").write_text(json.dumps(report))
    ended = run_here(capsys, "bench", "--against", tmp_path / "r.json", "--out", tmp_path / "out")
    assert ended.code == 2
    assert "r.json: is no report of `veilmatch bench` (" in ended.line()
    assert why in ended.line()
    assert not (tmp_path / "out").exists()


# Words.


def test_small_numbers_have_their_power_of_ten():
    shown = [number(value) for value in (0, 0.0000067, 0.00099949, 0.0009999, 0.00123, 0.5, 12.34, 1234567.8)]
    assert shown == ["0", "6.7e-6", "9.99e-4", "0.001", "0.00123", "0.5", "12.3", "1,234,568"]


def test_one_of_a_thing_is_named_so():
    assert [counted(1, "rounds"), counted(3, "rounds"), counted(1, "people")] == [
        "1 round",
        "3 rounds",
        "1 person",
    ]
    assert [each("identity"), each("person")] == ["an identity", "a person"]


def experiment_of(*parameters, **more) -> ExperimentReport:
    measures = report_of(1.0).experiments[0].cases[0].measures
    cases = tuple(Case(parameters=each, item="person", measures=measures, **more) for each in parameters)
    return ExperimentReport(name="a", kind="run", title="", rounds=1, cases=cases)


def test_cases_are_named_by_what_tells_them_apart():
    places = Places(
        experiment_of(
            {"operation": "keys", "key_bits": 2048, "people": 7},
            *(
                {"operation": "open", "key_bits": bits, "people": 7, "slots": bits // 50, "departments": 5}
                for bits in (2048, 3072)
            ),
        )
    )
    assert [places.name(case) for case in places.cases] == [
        "keys, 2,048 key bits",
        "open, 2,048 key bits",
        "open, 3,072 key bits",
    ]
    assert places.fixed == {"people": "7", "slots": "40 or 61", "departments": "5"}


def test_a_base_is_not_among_floors_and_peers():
    base = Measure(name="alone", role=Role.BASE, items=10, samples=(2.0,))
    [case] = experiment_of({"people": 10}).cases
    case = case.model_copy(update={"measures": (*case.measures, base)})
    tables = of_experiment(ExperimentReport(name="a", kind="run", title="", rounds=1, cases=(case,)))
    by_caption = {
        table.caption: [row[1] for row in table.rows] for table in tables if "divided" in table.caption
    }
    assert by_caption == {
        "Ours divided by floors and peers, an item, round by round; below 1 ours takes less": ["bare"],
        "Ours divided by its base, which is ours too, an item, round by round; below 1 ours takes less": [
            "alone"
        ],
    }


# Plots.


def texts(drawing: str) -> list[tuple[float, float, str, str]]:
    """Each text's place, anchor and words."""
    found = ET.fromstring(drawing).iter(f"{SVG}text")
    return [(float(t.get("x")), float(t.get("y")), t.get("text-anchor"), t.text) for t in found]


@pytest.mark.parametrize("low", [1.0, 2.7, 3.3, 4.9, 7.1, 9.6])
@pytest.mark.parametrize("reach", [1.44, 1.7, 3.0, 80.0, 1e7])
@pytest.mark.parametrize("power", [1e-6, 1.0, 1e4])
def test_an_axis_has_two_labels_at_least(low, reach, power):
    scale = Scale(low * power, low * power * reach, 0.0, 600.0)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 14
    assert all(-1 <= scale.at(tick) <= 601 for tick in ticks)
    drawing = lines(
        "t", "people", {"a": [Point(1000, low, low, low * reach / 1.44), Point(2000, low, low, low)]}
    )
    places = texts(drawing)
    assert len([1 for _, _, anchor, _ in places if anchor == "end"]) >= 2
    assert [words for _, _, anchor, words in places if anchor == "middle"] == ["1,000", "2,000", "people"]
    drawing = ranges("t", [("a", Point(0, low, low, low * reach / 1.44))])
    assert len([1 for _, _, anchor, _ in texts(drawing) if anchor == "middle"]) >= 2


def test_labels_have_the_room_they_need():
    name = "1,000,000 people, 12 departments, household-total, 3,072 key bits / SecretFlow SPU CHEETAH"
    point = Point(1000, 1.0, 2.0, 3.0)
    for drawing in (
        lines("t", "people", {name: [point, Point(2000, 1.0, 1.0, 1.0)]}),
        shares("t", {name: {"contribute": 1.0, "open": 3.0}}),
        ranges("t", [(name, point)]),
    ):
        width = float(ET.fromstring(drawing).get("width"))
        [(x, _, anchor, _)] = [place for place in texts(drawing) if place[3] == name]
        assert (x if anchor == "end" else width - x) >= 6.9 * len(name)  # DejaVu Sans has 6.7 a character
        assert f"min-width: {0.75 * width:.0f}px" in ET.fromstring(drawing).get("style")


def test_many_series_have_room_for_their_key_and_differ():
    series = {f"series {i}": [Point(1000, 1, i + 1, 99), Point(9000, 1, i + 2, 99)] for i in range(30)}
    drawing = ET.fromstring(lines("t", "people", series))
    looks = {(line.get("stroke"), line.get("stroke-dasharray")) for line in drawing.iter(f"{SVG}polyline")}
    assert len(looks) == 30
    height = float(drawing.get("height"))
    keys = [y for _, y, _, words in texts(ET.tostring(drawing)) if words.startswith("series")]
    assert max(keys) < height
    assert len(set(keys)) == 30


def test_labels_across_do_not_overlap():
    points = [Point(x, 1, 1, 1) for x in (100_000, 105_000, 300_000, 980_000, 1_000_000)]
    across = [t for t in texts(lines("t", "people", {"a": points})) if t[2] == "middle"]
    assert [words for *_, words in across] == ["100,000", "300,000", "1,000,000", "people"]


def test_bars_say_their_per_cents():
    words = [t[3] for t in texts(shares("t", {"a": {"contribute": 1.0, "open": 2.99, "circuit": 0.01}}))]
    assert words == ["t", "a", "25%", "75%", "contribute", "open", "circuit"]


# The terminal and the page.


def test_a_narrow_terminal_cuts_no_figure(tmp_path, monkeypatch):
    narrow = Console(file=StringIO(), width=40)
    monkeypatch.setattr("veilmatch.show.output", narrow)
    report = report_of(1234.567, 9876543.21)
    show_report(report, tmp_path, [])
    said = narrow.file.getvalue().split()
    for table in of_experiment(report.experiments[0]):
        assert {figure for row in table.rows for figure in row[table.figures :]} <= set(said)
    assert "\N{HORIZONTAL ELLIPSIS}" not in narrow.file.getvalue()


def test_the_title_is_shown_as_it_is_written(tmp_path):
    write_report(report_of(1.0, 2.0, title="Ours <b>|*"), tmp_path, [])
    assert "<h1>Measured: Ours &lt;b&gt;|*</h1>" in (tmp_path / "report.html").read_text()
    lines_ = (tmp_path / "report.md").read_text().splitlines()
    assert lines_[0] == r"# Measured: Ours \<b\>\|\*"
    assert r"Ours \<b\>\|\*. Kind linkage; 2 rounds; people 10." in lines_
    assert json.loads((tmp_path / "report.json").read_text())["title"] == "Ours <b>|*"


def test_what_is_wide_scrolls_in_a_narrow_window(tmp_path):
    size = Measure(name=BYTES, role=Role.SIZE, unit="B", items=10, samples=(7.0,))
    cases = experiment_of({"people": 10}, {"people": 20}).cases
    cases = tuple(case.model_copy(update={"measures": (*case.measures, size)}) for case in cases)
    report = report_of(1.0)
    experiment = report.experiments[0].model_copy(update={"cases": cases})
    write_report(report.model_copy(update={"experiments": (experiment,)}), tmp_path, [])
    text = (tmp_path / "report.html").read_text()
    page = ET.fromstring(text[text.index("<html") :])
    wide = [div[0].tag.removeprefix(SVG) for div in page.iter("div") if div.get("class") == "wide"]
    assert sorted(wide) == ["svg"] * 3 + ["table"] * 4
    assert len(wide) == len(list(page.iter("table"))) + len(list(page.iter(f"{SVG}svg")))
    assert re.search(r"\.wide \{ overflow-x: auto; \}", text)
