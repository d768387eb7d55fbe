"""A table as data, and its renderings: text, markdown, CSV, LaTeX (booktabs), JSON. Every format shows the same figures."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from cosd_eval.errors import UnknownName

Kind = Literal["text", "value", "percent", "points", "count", "p", "number", "bar"]


@dataclass(frozen=True)
class Figure:
    """A number with what it needs beside it. notes: footnotes that apply to this number alone."""

    value: float | None = None
    stderr: float | None = None
    n: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Column:
    """kind says how a value is written: percent and points (already times 100) with two digits, points with their sign.

    group: a heading above several columns. hidden: told by the block's title, so that text and LaTeX leave it out.
    """

    key: str
    heading: str
    kind: Kind = "text"
    group: str = ""
    hidden: bool = False


Row = dict[str, Any]  # column key -> str, int, float, Figure or None (empty)


@dataclass(frozen=True)
class Block:
    """Rows under one title; a row whose "_rule" is true starts after a line."""

    title: str
    columns: list[Column]
    rows: list[Row]


@dataclass(frozen=True)
class Table:
    """notes: said once below the table. flat: JSON is the bare list of rows."""

    name: str
    title: str
    blocks: list[Block]
    notes: list[str] = field(default_factory=list)
    flat: bool = False


def render(table: Table, format: str = "text", width: int | None = 150) -> str:
    """The table in one of FORMATS, ending in a newline. width: where text folds wide blocks (None: never). Raises UnknownName."""
    if format not in FORMATS:
        raise UnknownName("table format", format, FORMATS)
    return _text(table, width) if format == "text" else FORMATS[format](table)


class Footnotes:
    """Numbers footnotes in order of first use; the same text has the same number."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def marks(self, value: Any) -> list[int]:
        notes = value.notes if isinstance(value, Figure) else ()
        for note in notes:
            if note not in self.texts:
                self.texts.append(note)
        return [self.texts.index(note) + 1 for note in notes]


def plain(value: Any, kind: Kind) -> str:
    """A value without its footnote marks; empty for None and nan."""
    if isinstance(value, Figure):
        main = plain(value.value, kind)
        return (
            f"{main} ± {plain(value.stderr, 'number' if kind == 'value' else 'percent')}"
            if main and _known(value.stderr)
            else main
        )
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = _NUMBER[kind](float(value))
    return text.replace("-", "+" if kind == "points" else "") if text.startswith("-") and not text.strip("-0.") else text


def _known(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


_NUMBER: dict[Kind, Callable[[float], str]] = {
    "text": _number, "value": lambda v: f"{v:.4f}", "percent": lambda v: f"{v:.2f}", "points": lambda v: f"{v:+.2f}",
    "count": lambda v: f"{v:.0f}", "p": _p, "number": _number, "bar": _number,
}  # fmt: skip


def _marked(value: Any, kind: Kind, notes: Footnotes) -> str:
    marks = notes.marks(value)
    text = plain(value, kind)
    return f"{text}[{','.join(map(str, marks))}]" if marks else text


def _text(table: Table, width: int | None) -> str:
    notes = Footnotes()
    parts = [table.title]
    for block in table.blocks:
        columns = [c for c in block.columns if not c.hidden]
        title = [block.title] if block.title else []
        parts += ["\n".join([*title, *_grid(piece, block.rows, notes)]) for piece in _fold(columns, block, width)]
    parts.append(_footer(table, notes))
    return "\n\n".join(part for part in parts if part) + "\n"


def _fold(columns: list[Column], block: Block, width: int | None) -> Iterator[list[Column]]:
    """Columns in pieces no wider than `width`, each beginning with the leading text columns; groups stay whole."""
    lead = next((i for i, c in enumerate(columns) if c.kind != "text"), len(columns))
    fixed, rest = columns[:lead], columns[lead:]
    groups: list[list[Column]] = []
    for column in rest:
        if groups and column.group and groups[-1][0].group == column.group:
            groups[-1].append(column)
        else:
            groups.append([column])
    piece: list[Column] = []
    for group in groups:
        if piece and width is not None and _width([*fixed, *piece, *group], block) > width:
            yield [*fixed, *piece]
            piece = []
        piece += group
    yield [*fixed, *piece]


def _width(columns: list[Column], block: Block) -> int:
    return max((len(line) for line in _grid(columns, block.rows, Footnotes())), default=0)


def _grid(columns: list[Column], rows: list[Row], notes: Footnotes) -> list[str]:
    body = [[_marked(row.get(c.key), c.kind, notes) for c in columns] for row in rows]
    widths = [max([len(c.heading), *(len(line[i]) for line in body)]) for i, c in enumerate(columns)]
    _widen_for_groups(columns, widths)
    lines = [_group_line(columns, widths)] if any(c.group for c in columns) else []
    lines.append(_line([c.heading for c in columns], columns, widths))
    rule = "-" * sum(widths) + "-" * 2 * (len(widths) - 1)
    lines.append(rule)
    for i, (row, cells) in enumerate(zip(rows, body, strict=True)):
        if i and row.get("_rule"):
            lines.append(rule)
        lines.append(_line(cells, columns, widths))
    return lines


def spans(columns: list[Column]) -> list[tuple[str, int, int]]:
    """(group, first column, one past the last) of neighbouring columns of one group."""
    spans: list[tuple[str, int, int]] = []
    for i, column in enumerate(columns):
        if spans and spans[-1][0] == column.group and column.group:
            spans[-1] = (column.group, spans[-1][1], i + 1)
        else:
            spans.append((column.group, i, i + 1))
    return spans


def _widen_for_groups(columns: list[Column], widths: list[int]) -> None:
    for group, start, end in spans(columns):
        missing = len(group) - (sum(widths[start:end]) + 2 * (end - start - 1))
        widths[end - 1] += max(0, missing)


def _group_line(columns: list[Column], widths: list[int]) -> str:
    parts = [group.center(sum(widths[a:b]) + 2 * (b - a - 1)) for group, a, b in spans(columns)]
    return "  ".join(parts).rstrip()


def _line(cells: list[str], columns: list[Column], widths: list[int]) -> str:
    sides = [cell.ljust(w) if c.kind == "text" else cell.rjust(w) for cell, c, w in zip(cells, columns, widths, strict=True)]
    return "  ".join(sides).rstrip()


def _footer(table: Table, notes: Footnotes) -> str:
    return "\n".join([*(f"[{i}] {text}" for i, text in enumerate(notes.texts, 1)), *table.notes])


def _markdown(table: Table) -> str:
    notes = Footnotes()
    parts = [f"### {_md(table.title)}"]
    for block in table.blocks:
        columns = block.columns
        lines = [f"**{_md(block.title)}**", ""] if block.title else []
        lines.append("| " + " | ".join(_md(f"{c.group} {c.heading}".strip()) for c in columns) + " |")
        lines.append("| " + " | ".join("---" if c.kind == "text" else "---:" for c in columns) + " |")
        lines += ["| " + " | ".join(_md(_marked(row.get(c.key), c.kind, notes)) for c in columns) + " |" for row in block.rows]
        parts.append("\n".join(lines))
    footer = _footer(table, notes).split("\n")
    return "\n\n".join([*parts, *(_md(line) for line in footer if line)]) + "\n"


def _md(text: str) -> str:
    for character in "\\`*_<>|[]":
        text = text.replace(character, "\\" + character)
    return text.replace("\n", " ")


def _csv(table: Table) -> str:
    """One header for all blocks; their titles in the first column unless the table is flat; stderr and n in their own columns."""
    columns: dict[str, str] = {}
    for block in table.blocks:
        for c in block.columns:
            columns.setdefault(c.key, c.kind)
            figures = [row[c.key] for row in block.rows if isinstance(row.get(c.key), Figure)]
            for part in ("stderr", "n"):
                if any(getattr(f, part) is not None for f in figures):
                    columns.setdefault(f"{c.key} {part}", "part")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    lead = [] if table.flat else ["block"]
    writer.writerow([*lead, *columns])
    for block in table.blocks:
        for row in block.rows:
            writer.writerow(
                [*([] if table.flat else [block.title]), *(_csv_value(row, key, kind) for key, kind in columns.items())]
            )
    return out.getvalue()


def _csv_value(row: Row, key: str, kind: str) -> Any:
    if kind == "part":
        key, _, part = key.rpartition(" ")
        return _finite(getattr(row.get(key), part, None))
    value = row.get(key)
    return _finite(value.value if isinstance(value, Figure) else value)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _json(table: Table) -> str:
    if table.flat:
        content: Any = [_json_row(block, row) for block in table.blocks for row in block.rows]
    else:
        blocks = [
            {"title": b.title, "columns": [c.key for c in b.columns], "rows": [_json_row(b, r) for r in b.rows]}
            for b in table.blocks
        ]
        content = {"table": table.name, "title": table.title, "blocks": blocks, "notes": table.notes}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _json_row(block: Block, row: Row) -> Row:
    return {c.key: _json_value(row.get(c.key)) for c in block.columns}


def _json_value(value: Any) -> Any:
    if not isinstance(value, Figure):
        return _finite(value)
    kept = {"value": _finite(value.value), "stderr": _finite(value.stderr), "n": value.n, "notes": list(value.notes)}
    return {k: v for k, v in kept.items() if v not in (None, [])} or None


_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "†": r"$\dagger$",
        "α": r"$\alpha$", "β": r"$\beta$", "·": r"$\cdot$", "Δ": r"$\Delta$", "−": "$-$", "<": r"\textless{}",
        ">": r"\textgreater{}", "…": r"\ldots{}", "√": r"$\surd$", "×": r"$\times$", "|": r"\textbar{}"}  # fmt: skip


def _tex(text: str) -> str:
    escaped = "".join(_TEX.get(c, "\\" + c if c in "&%$#_{}" else c) for c in text.replace("--", "\0"))
    return escaped.replace("\0", "-{}-")  # two hyphens, not a dash


def _latex(table: Table) -> str:
    """A table environment a block; needs \\usepackage{booktabs}. Footnotes follow the last one."""
    notes = Footnotes()
    parts = ["% needs \\usepackage{booktabs}"]
    for block in table.blocks:
        columns = [c for c in block.columns if not c.hidden]
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_tex(table.title)}{': ' + _tex(block.title) if block.title else ''}}}",
        ]
        lines += [rf"\begin{{tabular}}{{{''.join('l' if c.kind == 'text' else 'r' for c in columns)}}}", r"\toprule"]
        if any(c.group for c in columns):
            runs = spans(columns)
            lines.append(" & ".join(rf"\multicolumn{{{b - a}}}{{c}}{{{_tex(g)}}}" for g, a, b in runs) + r" \\")
            lines.append(" ".join(rf"\cmidrule(lr){{{a + 1}-{b}}}" for g, a, b in runs if g))
        lines += [" & ".join(_tex(c.heading) for c in columns) + r" \\", r"\midrule"]
        for i, row in enumerate(block.rows):
            lines += [r"\midrule"] if i and row.get("_rule") else []
            lines.append(" & ".join(_tex_cell(row.get(c.key), c.kind, notes) for c in columns) + r" \\")
        parts.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]))
    footer = [rf"\textsuperscript{{{i}}} {_tex(text)}" for i, text in enumerate(notes.texts, 1)] + [
        _tex(text) for text in table.notes
    ]
    if footer:
        parts.append("{\\footnotesize\\noindent\n" + "\\\\\n".join(footer) + "\n\\par}")
    return "\n\n".join(parts) + "\n"


def _tex_cell(value: Any, kind: Kind, notes: Footnotes) -> str:
    marks = notes.marks(value)
    return _tex(plain(value, kind)) + (rf"\textsuperscript{{{','.join(map(str, marks))}}}" if marks else "")


FORMATS: dict[str, Callable[[Table], str]] = {
    "text": lambda table: _text(table, None), "markdown": _markdown, "csv": _csv, "latex": _latex, "json": _json,
}  # fmt: skip
