"""Plots as SVG elements, by the standard library: lines with ranges, shares, ranges on a scale."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

from veilmatch.bench.wording import number

_PLOT = 600  # the width of what is drawn, without its labels
_TOP, _MARGIN = 34, 70  # the title's height; for the figures beside the plot
_ROW = 22  # a bar and its gap
_KEY_ROW = 18
_HEIGHT = 300  # of a line plot with a short key
_CHARACTER = 7.2  # about the width of one of twelve pixels, so that no label is cut off
_READABLE = 0.75  # a drawing is not made smaller than this: nine pixels
# Distinguishable also to the colour-blind (Okabe and Ito 2008); a series after the eighth has dashes.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
_DARK = {"#0072b2", "#000000"}
_DASHES = ("", "7 3", "2 3", "9 3 2 3")
# Ticks of a decade, coarse to fine; the last has two in every range that is half as large again.
_STEPS: tuple[tuple[float, ...], ...] = (
    (1,),
    (1, 2, 5),
    (1, 1.5, 2, 3, 5, 7),
    (1, 1.2, 1.4, 1.6, 1.8, 2, 2.25, 2.5, 2.75, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7, 7.5, 8, 8.5, 9, 9.5),
)


@dataclass(frozen=True)
class Point:
    """A measure at ``x``: least, median, greatest."""

    x: float
    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Scale:
    """Numbers to pixels, logarithmically."""

    low: float
    high: float
    start: float
    end: float

    def at(self, number: float) -> float:
        """The pixel of a number above 0."""
        if self.high <= self.low:
            return (self.start + self.end) / 2
        part = (math.log(number) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return self.start + part * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Powers of ten in reach; where those are fewer than three, finer ones."""
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        found: list[float] = []
        for steps in _STEPS:
            every = [step * 10.0**decade for decade in decades for step in steps]
            found = [tick for tick in every if self.low * 0.999 <= tick <= self.high * 1.001]
            if len(found) >= 3:
                break
        return found


def lines(title: str, across: str, series: Mapping[str, Sequence[Point]]) -> str:
    """Medians joined by a line, with their ranges, over a logarithmic axis each way; the key beside it."""
    points = [point for each in series.values() for point in each]
    bottom = _TOP + max(_HEIGHT, len(series) * _KEY_ROW)
    drawing = _drawing(title, _MARGIN + _PLOT + 50 + _widest(series), bottom + 46)
    end = _MARGIN + _PLOT
    horizontal = Scale(min(p.x for p in points), max(p.x for p in points), _MARGIN, end)
    vertical = Scale(min(p.low for p in points) / 1.2, max(p.high for p in points) * 1.2, bottom, _TOP + 10)
    for tick in vertical.ticks():
        at = vertical.at(tick)
        _line(drawing, _MARGIN, at, end, at, "#ddd")
        _text(drawing, _MARGIN - 6, at + 4, number(tick), anchor="end")
    across_at = sorted({point.x for point in points})
    labelled = set(_apart(horizontal, across_at))
    for x in across_at:
        at = horizontal.at(x)
        _line(drawing, at, _TOP + 10, at, bottom, "#eee")
        if x in labelled:
            _text(drawing, at, bottom + 18, number(x), anchor="middle")
    _text(drawing, (_MARGIN + end) / 2, bottom + 40, across, anchor="middle")
    for place, (name, line) in enumerate(series.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        places = [(horizontal.at(point.x), vertical.at(point.middle)) for point in line]
        _polyline(drawing, places, place)
        for point, (x, y) in zip(line, places, strict=True):
            _line(drawing, x, vertical.at(point.low), x, vertical.at(point.high), colour)
            SubElement(drawing, "circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="3", fill=colour)
        middle = _TOP + 16 + place * _KEY_ROW
        _polyline(drawing, [(end + 12, middle), (end + 38, middle)], place)
        _text(drawing, end + 44, middle + 4, name)
    return _written(drawing)


def shares(title: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    """A bar a row, cut in proportion to its parts, with per cents where they have room."""
    parts = list(dict.fromkeys(part for row in rows.values() for part in row))
    left, bottom = _widest(rows) + 16, _TOP + len(rows) * _ROW
    drawing = _drawing(title, left + _PLOT + 8, bottom + 34)
    for place, (name, row) in enumerate(rows.items()):
        top, whole, x = _TOP + place * _ROW, sum(row.values()) or 1.0, left
        _text(drawing, left - 8, top + 13, name, anchor="end")
        for part, size in row.items():
            width, colour = _PLOT * size / whole, _COLOURS[parts.index(part) % len(_COLOURS)]
            box = {"x": f"{x:.1f}", "y": str(top), "width": f"{width:.1f}", "height": str(_ROW - 4)}
            bar = SubElement(drawing, "rect", {**box, "fill": colour})
            said = f"{size / whole:.0%}"
            SubElement(bar, "title").text = f"{part}: {said}"
            if width > _CHARACTER * (len(said) + 1):
                ink = "#fff" if colour in _DARK else "#000"
                _text(drawing, x + width / 2, top + 13, said, anchor="middle", fill=ink)
            x += width
    x = left
    for place, part in enumerate(parts):
        box = {"x": f"{x:.1f}", "y": str(bottom + 7), "width": "10", "height": "10"}
        SubElement(drawing, "rect", {**box, "fill": _COLOURS[place % len(_COLOURS)]})
        _text(drawing, x + 15, bottom + 16, part)
        x += 15 + _widest([part]) + 20
    return _written(drawing)


def ranges(title: str, rows: Sequence[tuple[str, Point]]) -> str:
    """A range a row, its median marked, on a logarithmic scale with a line at 1."""
    left, bottom = _widest(name for name, _ in rows) + 16, _TOP + len(rows) * _ROW
    drawing = _drawing(title, left + _PLOT + _MARGIN, bottom + 30)
    low = min(1.0, *(point.low for _, point in rows)) / 1.2
    high = max(1.0, *(point.high for _, point in rows)) * 1.2
    scale = Scale(low, high, left, left + _PLOT)
    labelled = set(_apart(scale, scale.ticks()))
    for tick in scale.ticks():
        at = scale.at(tick)
        _line(drawing, at, _TOP - 4, at, bottom, "#888" if tick == 1 else "#ddd")
        if tick in labelled:
            _text(drawing, at, bottom + 16, number(tick), anchor="middle")
    for place, (name, point) in enumerate(rows):
        middle = _TOP + place * _ROW + 8
        _text(drawing, left - 8, middle + 4, name, anchor="end")
        _line(drawing, scale.at(point.low), middle, scale.at(point.high), middle, _COLOURS[0], width=4)
        at = scale.at(point.middle)
        SubElement(drawing, "circle", cx=f"{at:.1f}", cy=str(middle), r="5", fill=_COLOURS[1])
        _text(drawing, left + _PLOT + 10, middle + 4, number(point.middle))
    return _written(drawing)


def _widest(names: Iterable[str]) -> float:
    """About how wide the longest of some names is."""
    return _CHARACTER * max(map(len, names))


def _apart(scale: Scale, numbers: Iterable[float]) -> Iterator[float]:
    """Of ascending numbers those, first and last among them, whose labels do not overlap."""
    *others, last = numbers

    def reach(number_: float) -> tuple[float, float]:
        half = _widest([number(number_)]) / 2 + 4
        return scale.at(number_) - half, scale.at(number_) + half

    taken, end = -math.inf, reach(last)[0]
    for each in others:
        start, stop = reach(each)
        if start >= taken and (stop <= end or taken == -math.inf):
            taken = stop
            yield each
    yield last


def _drawing(title: str, width: float, height: float) -> Element:
    width = max(width, 8 + _widest([title]) * 1.1)  # bold
    size = {"viewBox": f"0 0 {width:.0f} {height:.0f}", "width": f"{width:.0f}", "height": f"{height:.0f}"}
    style = f"min-width: {width * _READABLE:.0f}px"
    drawing = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img", "style": style, **size})
    SubElement(drawing, "title").text = title
    _text(drawing, 4, 16, title, weight="bold")
    return drawing


def _line(drawing: Element, x1: float, y1: float, x2: float, y2: float, colour: str, width: int = 1) -> None:
    ends = {"x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}"}
    SubElement(drawing, "line", {**ends, "stroke": colour, "stroke-width": str(width)})


def _polyline(drawing: Element, places: Sequence[tuple[float, float]], series: int) -> None:
    """The line of a series, by its place among them: eight colours, and each of them again with dashes."""
    again, colour = divmod(series, len(_COLOURS))
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    look = {"fill": "none", "stroke": _COLOURS[colour], "stroke-width": "2"}
    dashes = _DASHES[again % len(_DASHES)]
    SubElement(
        drawing, "polyline", {"points": path, **look, **({"stroke-dasharray": dashes} if dashes else {})}
    )


def _text(
    drawing: Element,
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    weight: str = "normal",
    fill: str = "#222",
) -> None:
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}
    look = {"font-weight": weight, "font-size": "12", "fill": fill}
    SubElement(drawing, "text", {**place, **look}).text = text


def _written(drawing: Element) -> str:
    return tostring(drawing, encoding="unicode")
