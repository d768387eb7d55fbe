"""Plots as inline SVG for the report. Colours and fonts are the page's CSS classes, so that they follow light, dark and print.

Every text goes through `escape`; every mark has a shape or dash of its own and a label, so that colour is never the only sign.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import floor, log10

_LEFT, _TOP, _BOTTOM = 52, 14, 44
_ROW = 15  # least distance between two labels


@dataclass(frozen=True)
class Point:
    """A labelled point with an interval in y. role: "member", "baseline" or "cosd", which chooses shape and colour."""

    label: str
    role: str
    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """A labelled line of (x, y, weight) points; weight, if not None, is the count behind a point and becomes its size."""

    label: str
    points: Sequence[tuple[float, float, int | None]]


def scatter(points: Sequence[Point], x_label: str, y_label: str, title: str) -> str:
    """Points with whiskers; labels in a column at the right, each joined to its point."""
    margin = _room([p.label for p in points])
    frame = _Frame.around(
        [(0, 0), *((p.x, p.y) for p in points)], x_label, y_label, 350 + margin, max(270, 18 * len(points)), margin
    )
    frame = frame.with_y(min(p.low for p in points), max(p.high for p in points))
    parts = [frame.axes()]
    for p, y_text in zip(points, _spread([frame.y(p.y) for p in points], frame.top, frame.bottom), strict=True):
        x, y = frame.x(p.x), frame.y(p.y)
        parts.append(f'<g class="{p.role}">{_vertical(x, frame.y(p.low), frame.y(p.high), "whisker")}{_shape(p.role, x, y)}</g>')
        parts.append(f'<path class="leader" d="M{x + 6:.1f},{y:.1f}L{frame.right + 6:.1f},{y_text:.1f}"/>')
        parts.append(f'<g class="{p.role}">{_shape(p.role, frame.right + 14, y_text)}</g>')
        parts.append(_text(frame.right + 24, y_text + 4, p.label, f"{p.y:.1f} [{p.low:.1f}, {p.high:.1f}], {p.x:.3g}"))
    return frame.svg(parts, title)


def lines(lines: Sequence[Line], x_label: str, y_label: str, title: str, diagonal: bool = False, top: float | None = None) -> str:
    """Lines told apart by dashes and labels; with `diagonal`, that of perfect calibration for comparison."""
    points = [(x, y) for line in lines for x, y, _ in line.points]
    margin = _room([line.label for line in lines])
    frame = _Frame.around([(0, 0), *points], x_label, y_label, 350 + margin, 270, margin)
    frame = frame.with_y(0, top if top is not None else max(y for _, y in points) * 1.1 or 1)
    if diagonal:
        frame = frame.with_x(0, 100)
    parts = [frame.axes()]
    if diagonal:
        parts.append(f'<path class="diagonal" d="M{frame.x(0):.1f},{frame.y(0):.1f}L{frame.x(100):.1f},{frame.y(100):.1f}"/>')
    ends = _spread([frame.y(line.points[-1][1]) for line in lines], frame.top, frame.bottom)
    for i, (line, y_text) in enumerate(zip(lines, ends, strict=True)):
        path = "L".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y, _ in line.points)
        dots = "".join(_dot(frame.x(x), frame.y(y), x, y, weight) for x, y, weight in line.points)
        x, y, _ = line.points[-1]
        parts.append(f'<g class="line line{i % 6}"><path class="stroke" d="M{path}"/>{dots}')
        parts.append(f'<path class="leader" d="M{frame.x(x) + 4:.1f},{frame.y(y):.1f}L{frame.right + 6:.1f},{y_text:.1f}"/>')
        parts.append(f'<path class="stroke" d="M{frame.right + 8:.1f},{y_text:.1f}h24"/>')
        parts.append(_text(frame.right + 37, y_text + 4, line.label) + "</g>")
    return frame.svg(parts, title)


def bars(values: Sequence[tuple[str, float]], unit: str, title: str) -> str:
    """Horizontal bars from 0, each with its label and its figure."""
    height = 22 * len(values) + 8
    most = max((v for _, v in values), default=1) or 1
    parts = []
    for i, (label, value) in enumerate(values):
        y, width = 4 + 22 * i, 330 * value / most
        parts.append(f'<text x="236" y="{y + 14}" text-anchor="end">{escape(label)}</text>')
        parts.append(f'<rect class="bar" x="244" y="{y + 2}" width="{width:.1f}" height="16" rx="2"/>')
        parts.append(f'<text x="{250 + width:.1f}" y="{y + 14}">{value:.1f}{escape(unit)}</text>')
    return _svg(640, height, parts, title)


@dataclass(frozen=True)
class _Frame:
    """A plotting area: data ranges, size in pixels, and room at the right for labels."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    labels: tuple[str, str]
    width: int
    height: int
    margin: int

    @classmethod
    def around(cls, points: Sequence[tuple[float, float]], x: str, y: str, width: int, height: int, margin: int) -> "_Frame":
        xs, ys = [p[0] for p in points], [p[1] for p in points]
        return cls((min(xs), max(xs) * 1.05 or 1), (min(ys), max(ys) or 1), (x, y), width, height, margin)

    def with_x(self, low: float, high: float) -> "_Frame":
        return _Frame((low, high), self.y_range, self.labels, self.width, self.height, self.margin)

    def with_y(self, low: float, high: float) -> "_Frame":
        return _Frame(self.x_range, (low, high if high > low else low + 1), self.labels, self.width, self.height, self.margin)

    @property
    def right(self) -> float:
        return float(self.width - self.margin)

    @property
    def top(self) -> float:
        return float(_TOP)

    @property
    def bottom(self) -> float:
        return float(self.height - _BOTTOM)

    def x(self, value: float) -> float:
        low, high = self.x_range
        return _LEFT + (value - low) / (high - low) * (self.right - _LEFT)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.bottom - (value - low) / (high - low) * (self.bottom - self.top)

    def axes(self) -> str:
        parts = []
        for v in _ticks(*self.y_range):
            y = self.y(v)
            parts.append(f'<path class="grid" d="M{_LEFT},{y:.1f}H{self.right:.1f}"/>')
            parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{v:g}</text>')
        for v in _ticks(*self.x_range):
            x = self.x(v)
            parts.append(f'<path class="axis" d="M{x:.1f},{self.bottom:.1f}v4"/>')
            parts.append(f'<text class="tick" x="{x:.1f}" y="{self.bottom + 16:.1f}" text-anchor="middle">{v:g}</text>')
        x, y = (_LEFT + self.right) / 2, (self.top + self.bottom) / 2
        parts.append(f'<path class="axis" d="M{_LEFT},{self.bottom:.1f}H{self.right:.1f}"/>')
        parts.append(f'<text class="name" x="{x:.1f}" y="{self.height - 8}">{escape(self.labels[0])}</text>')
        parts.append(f'<text class="name" x="13" y="{y:.1f}" transform="rotate(-90 13 {y:.1f})">{escape(self.labels[1])}</text>')
        return "".join(parts)

    def svg(self, parts: list[str], title: str) -> str:
        return _svg(self.width, self.height, parts, title)


def _text(x: float, y: float, text: str, more: str = "") -> str:
    """A text that starts at (x, y); more: shown on pointing at it."""
    return f'<text x="{x:.1f}" y="{y:.1f}">{escape(text)}{f"<title>{escape(more)}</title>" if more else ""}</text>'


def _room(labels: Sequence[str]) -> int:
    """Pixels for the longest label and the sign before it."""
    return 52 + round(6.8 * max(map(len, labels), default=0))


def _svg(width: int, height: int, parts: list[str], title: str) -> str:
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f'<svg {size} role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'


def _ticks(low: float, high: float) -> list[float]:
    """Round values within [low, high], about five."""
    step = 10.0 ** floor(log10((high - low) / 5))
    step = next(s for s in (step, 2 * step, 5 * step, 10 * step) if (high - low) / s <= 6)
    first = int(low / step) - 1
    return [round(v, 10) for i in range(first, first + 15) if low - 1e-9 <= (v := i * step) <= high + 1e-9]


def _spread(wanted: Sequence[float], top: float, bottom: float) -> list[float]:
    """Label heights as near to those wanted as keeps them apart, in the order given."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed: list[float] = []
    for i in order:
        placed.append(max(wanted[i], placed[-1] + _ROW if placed else top))
    limit = bottom
    for k in reversed(range(len(placed))):
        placed[k] = min(placed[k], limit)
        limit = placed[k] - _ROW
    heights = dict(zip(order, placed, strict=True))
    return [heights[i] for i in range(len(wanted))]


def _vertical(x: float, y1: float, y2: float, css: str) -> str:
    return f'<path class="{css}" d="M{x - 4:.1f},{y1:.1f}h8M{x:.1f},{y1:.1f}V{y2:.1f}M{x - 4:.1f},{y2:.1f}h8"/>'


def _shape(role: str, x: float, y: float) -> str:
    """A circle for members, a square for baselines, a diamond for CoSD."""
    if role == "member":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
    turn = f' transform="rotate(45 {x:.1f} {y:.1f})"' if role == "cosd" else ""
    return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"{turn}/>'


def _dot(px: float, py: float, x: float, y: float, weight: int | None) -> str:
    radius = 2.5 if weight is None else min(9.0, 2 + weight**0.5 / 2)
    text = f"{x:.1f}: {y:.1f}" + ("" if weight is None else f" ({weight})")
    return f'<circle class="dot" cx="{px:.1f}" cy="{py:.1f}" r="{radius:.1f}"><title>{escape(text)}</title></circle>'
