"""Plots as SVG elements, by the standard library: lines with ranges, shares, ranges on a scale."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

_WIDTH, _LEFT, _RIGHT, _TOP = 1120, 430, 70, 34
_START, _END = 70, _WIDTH - 340  # of a line plot; its key stands beside it
_ROW = 22  # a bar and its gap
_HEIGHT = 300  # of a line plot
# Distinguishable also to the colour-blind (Okabe and Ito 2008).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")


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
        """Powers of ten in reach, and twice and five times them where there are few."""
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        steps = (1,) if len(decades) > 4 else (1, 2, 5)
        every = [step * 10.0**decade for decade in decades for step in steps]
        return [tick for tick in every if self.low * 0.999 <= tick <= self.high * 1.001]


def lines(title: str, across: str, series: Mapping[str, Sequence[Point]]) -> str:
    """Medians joined by a line, with their ranges, over a logarithmic axis each way."""
    points = [point for each in series.values() for point in each]
    height = _TOP + _HEIGHT + 46
    drawing = _drawing(title, height)
    horizontal = Scale(min(p.x for p in points), max(p.x for p in points), _START, _END)
    vertical = Scale(
        min(p.low for p in points) / 1.2, max(p.high for p in points) * 1.2, _TOP + _HEIGHT, _TOP + 10
    )
    for tick in vertical.ticks():
        at = vertical.at(tick)
        _line(drawing, _START, at, _END, at, "#ddd")
        _text(drawing, _START - 6, at + 4, number(tick), anchor="end")
    for x in sorted({point.x for point in points}):
        at = horizontal.at(x)
        _line(drawing, at, _TOP + 10, at, _TOP + _HEIGHT, "#eee")
        _text(drawing, at, _TOP + _HEIGHT + 18, number(x), anchor="middle")
    _text(drawing, (_START + _END) / 2, height - 6, across, anchor="middle")
    for place, (name, line) in enumerate(series.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        places = [(horizontal.at(point.x), vertical.at(point.middle)) for point in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        SubElement(
            drawing, "polyline", {"points": path, "fill": "none", "stroke": colour, "stroke-width": "2"}
        )
        for point, (x, y) in zip(line, places, strict=True):
            _line(drawing, x, vertical.at(point.low), x, vertical.at(point.high), colour)
            SubElement(drawing, "circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="3", fill=colour)
        _key(drawing, _END + 20, _TOP + 20 + place * 18, colour, name)
    return _written(drawing)


def shares(title: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    """A bar a row, cut in proportion to its parts."""
    parts = list(dict.fromkeys(part for row in rows.values() for part in row))
    drawing = _drawing(title, _TOP + len(rows) * _ROW + 34)
    wide = _WIDTH - _LEFT - _RIGHT
    for place, (name, row) in enumerate(rows.items()):
        top, whole, x = _TOP + place * _ROW, sum(row.values()) or 1.0, float(_LEFT)
        _text(drawing, _LEFT - 8, top + 14, name, anchor="end")
        for part, size in row.items():
            width, colour = wide * size / whole, _COLOURS[parts.index(part) % len(_COLOURS)]
            box = {"x": f"{x:.1f}", "y": str(top), "width": f"{width:.1f}", "height": str(_ROW - 6)}
            bar = SubElement(drawing, "rect", {**box, "fill": colour})
            SubElement(bar, "title").text = f"{part}: {size / whole:.0%}"
            x += width
    for place, part in enumerate(parts):
        _key(
            drawing, _LEFT + place * 130, _TOP + len(rows) * _ROW + 16, _COLOURS[place % len(_COLOURS)], part
        )
    return _written(drawing)


def ranges(title: str, rows: Sequence[tuple[str, Point]]) -> str:
    """A range a row, its median marked, on a logarithmic scale with a line at 1."""
    drawing = _drawing(title, _TOP + len(rows) * _ROW + 30)
    low = min(1.0, *(point.low for _, point in rows)) / 1.2
    high = max(1.0, *(point.high for _, point in rows)) * 1.2
    scale = Scale(low, high, _LEFT + 60, _WIDTH - _RIGHT)
    bottom = _TOP + len(rows) * _ROW
    for tick in scale.ticks():
        at = scale.at(tick)
        _line(drawing, at, _TOP - 4, at, bottom, "#888" if tick == 1 else "#ddd")
        _text(drawing, at, bottom + 16, number(tick), anchor="middle")
    for place, (name, point) in enumerate(rows):
        middle = _TOP + place * _ROW + 8
        _text(drawing, _LEFT + 50, middle + 4, name, anchor="end")
        _line(drawing, scale.at(point.low), middle, scale.at(point.high), middle, _COLOURS[0], width=4)
        at = scale.at(point.middle)
        SubElement(drawing, "circle", cx=f"{at:.1f}", cy=str(middle), r="5", fill=_COLOURS[1])
        _text(drawing, _WIDTH - _RIGHT + 10, middle + 4, number(point.middle))
    return _written(drawing)


def number(value: float) -> str:
    """A number in three digits, or all of its whole ones."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _drawing(title: str, height: float) -> Element:
    size = {"viewBox": f"0 0 {_WIDTH} {height:.0f}", "width": str(_WIDTH), "height": f"{height:.0f}"}
    drawing = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img", **size})
    SubElement(drawing, "title").text = title
    _text(drawing, 4, 16, title, weight="bold")
    return drawing


def _line(drawing: Element, x1: float, y1: float, x2: float, y2: float, colour: str, width: int = 1) -> None:
    ends = {"x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}"}
    SubElement(drawing, "line", {**ends, "stroke": colour, "stroke-width": str(width)})


def _text(
    drawing: Element, x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal"
) -> None:
    place = {
        "x": f"{x:.1f}",
        "y": f"{y:.1f}",
        "text-anchor": anchor,
        "font-weight": weight,
        "font-size": "12",
    }
    SubElement(drawing, "text", place).text = text


def _key(drawing: Element, x: float, y: float, colour: str, name: str) -> None:
    SubElement(drawing, "rect", x=f"{x:.1f}", y=f"{y - 9:.1f}", width="10", height="10", fill=colour)
    _text(drawing, x + 15, y, name)


def _written(drawing: Element) -> str:
    return tostring(drawing, encoding="unicode")
