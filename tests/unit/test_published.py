"""Every published figure in our data file against the source it was taken from, and against itself."""

import json
from pathlib import Path

import pytest

from cosd_eval.analysis import published as paper
from cosd_eval.errors import UnknownName

SOURCE = Path(__file__).parents[2].parent / "shared" / "paper" / "published.json"


def leaves(content: object, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else None
    if items is None:
        return {path: content}
    return {k: v for name, value in items for k, v in leaves(value, (*path, str(name))).items()}


@pytest.mark.skipif(not SOURCE.exists(), reason=f"the figures' source {SOURCE} is not at hand")
def test_every_figure_agrees_with_its_source() -> None:
    ours, theirs = leaves(paper.load()), leaves(json.loads(SOURCE.read_text()))
    assert ours.keys() == theirs.keys()
    assert {k: (ours[k], theirs[k]) for k in ours if ours[k] != theirs[k]} == {}


@pytest.mark.parametrize(
    "figures",
    [paper.table2("icml2025"), paper.table2("iclr2025"), paper.table3(), paper.table8(), paper.pair1_all(), paper.swapped(),
     paper.table5(), paper.table6(), paper.table7(), paper.figure2()],
)  # fmt: skip
def test_every_table_is_read_whole(figures: dict[object, object]) -> None:
    assert figures and all(v is not None for v in figures.values())


def test_the_readers_reach_every_number_of_the_file() -> None:
    """Each number of both editions comes out of one of the readers, apart from axes and headings."""
    numbers = [v for k, v in leaves({e: paper.load()[e] for e in paper.EDITIONS}).items() if isinstance(v, int | float)
               and k[1:] != ("table5", "pair") and k[1:] != ("table6", "pair") and "alpha" not in k]  # fmt: skip
    read = [*paper.table2("icml2025").values(), *paper.table2("iclr2025").values(), *paper.table3().values(), *paper.table8().values(),
            *paper.pair1_all().values(), *paper.swapped().values(), *paper.table5().values(), *paper.table7().values(),
            *paper.figure2().values(), *(v for both in paper.table6().values() for v in both)]  # fmt: skip
    assert sorted(read) == sorted(numbers)


def printed_means(figures: paper.Figures) -> dict[tuple[str, str], tuple[float, float]]:
    """(pair, method) -> (printed mean, mean of the printed cells)."""
    cells: dict[tuple[str, str], list[float]] = {}
    for (pair, benchmark, method), value in figures.items():
        if benchmark != paper.MEAN:
            cells.setdefault((pair, method), []).append(value)
    return {
        k: (figures[k[0], paper.MEAN, k[1]], sum(v) / len(v)) for k, v in cells.items() if (k[0], paper.MEAN, k[1]) in figures
    }


@pytest.mark.parametrize(
    ("table", "edition", "figures", "cells"),
    [("table2", "icml2025", paper.table2("icml2025"), 28), ("pair1-all", "iclr2025", paper.pair1_all(), 7),
     ("swapped", "iclr2025", paper.swapped(), 6)],
)  # fmt: skip
def test_printed_means_are_means_except_where_said(table: str, edition: str, figures: paper.Figures, cells: int) -> None:
    means = printed_means(figures)
    assert len(means) == cells
    wrong = {key for key, (printed, mean) in means.items() if abs(printed - mean) > 0.0051}
    said = {(p, m) for p, m in means if paper.inconsistencies(table, edition, p, paper.MEAN, m)}
    assert wrong == said
    assert said == ({("pair2", "draft"), ("pair3", "draft")} if table == "table2" else set())


def test_the_discussion_edition_prints_means_of_the_final_cells() -> None:
    final = paper.table2("icml2025")
    wrong = set()
    for (pair, _, method), printed in paper.table2("iclr2025").items():
        values = [final[paper.final_name("iclr2025", pair), b, method] for b in ("MMLU", "GSM8K", "HumanEval")]
        if abs(sum(values) / 3 - printed) > 0.01:  # this edition cuts some digits instead of rounding
            wrong.add((pair, method))
    assert wrong == {("pair3", "average")}
    assert paper.inconsistencies("table2", "iclr2025", "pair3", paper.MEAN, "average")


def test_figure2_is_the_sum_of_two_cells_of_table2() -> None:
    final, figure = paper.table2("icml2025"), paper.figure2()
    for pair in ("pair2", "pair3"):
        assert figure[pair, 0.5, 0.5] == pytest.approx(
            final[pair, "MMLU", "cosd-rule"] + final[pair, "GSM8K", "cosd-rule"], abs=0.006
        )


def test_each_known_inconsistency_touches_something() -> None:
    places = [(t, e, p, b, m) for t in ("table2", "table3", "pair1-all", "figure2") for e in paper.EDITIONS
              for p in ("", "pair1", "pair2", "pair3", "pair6") for b in ("", paper.MEAN, "HumanEval", "Hellaswag", "TruthfulQA")
              for m in ("", "draft", "assistant", "average", "speculative", "cosd-rule")]  # fmt: skip
    touched = {note for place in places for note in paper.inconsistencies(*place)}
    assert touched == set(paper.load()["known_inconsistencies"])


def test_editions_swap_pairs_1_and_2() -> None:
    assert [paper.pair_in("iclr2025", p) for p in ("pair1", "pair2", "pair3", "pair5")] == ["pair2", "pair1", "pair3", None]
    assert paper.final_name("iclr2025", "pair1") == "pair2"
    with pytest.raises(UnknownName, match="icml2025"):
        paper.check_edition("icml2024")
