"""Tables of the made-up results in tests/golden/results, against figures worked out by hand from the rows in make.py."""

import csv
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from cosd_eval.analysis.results import Results, load_results
from cosd_eval.analysis.table import Block, Column, Figure, Table, render
from cosd_eval.analysis.tables import TABLES, build_table
from cosd_eval.errors import UnknownName

GOLDEN = Path(__file__).parents[1] / "golden" / "results"
sys.path.insert(0, str(GOLDEN))
import make  # noqa: E402


@pytest.fixture(scope="module")
def results() -> Results:
    return load_results(GOLDEN / "toy-results")


def row(table: Table, block: int, **where: str) -> dict[str, Any]:
    return next(r for r in table.blocks[block].rows if all(r.get(k) == v for k, v in where.items()))


def test_the_golden_results_are_what_the_script_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "HERE", tmp_path)
    for method, right in make.GSM8K.items():
        make.gsm8k(method, right)
    for method, right in make.MMLU.items():
        make.mmlu(method, right)
    written = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*.json*"))
    assert written == sorted(p.relative_to(GOLDEN / "toy-results") for p in (GOLDEN / "toy-results").rglob("*.json*"))
    for path in written:
        assert (tmp_path / path).read_text() == (GOLDEN / "toy-results" / path).read_text(), path


@pytest.fixture(scope="module")
def rendered() -> dict[str, str]:
    files: dict[str, str] = make.rendered()
    return files


@pytest.mark.parametrize("name", sorted(p.name for p in (GOLDEN / "tables").iterdir()))
def test_renderings_are_the_golden_ones(name: str, rendered: dict[str, str]) -> None:
    """If this change is meant, run python tests/golden/results/make.py and look at the difference."""
    assert rendered[name] == (GOLDEN / "tables" / name).read_text(encoding="utf-8")


def test_scores_as_json_are_a_list_of_plain_objects(results: Results) -> None:
    rows = json.loads(render(build_table("scores", results), "json"))
    assert {"pair", "method", "task", "metric", "value", "stderr", "n"} <= rows[0].keys()
    rule = [r for r in rows if (r["method"], r["task"], r["filter"]) == ("cosd-rule", "gsm8k", "strict-match")]
    assert [(r["value"], r["n"]) for r in rule] == [(0.7, 10)]
    assert rule[0]["stderr"] == pytest.approx((0.7 * 0.3 / 9) ** 0.5)
    assert len(rows) == 5 * 2 + 4


def test_table2_by_hand(results: Results) -> None:
    table = build_table("table2", results, pairs=["toy"])
    gsm8k, mmlu = row(table, 0, task="gsm8k"), row(table, 0, task="mmlu")
    methods = ("draft", "assistant", "speculative", "cosd-rule")
    assert [gsm8k[m].value for m in methods] == [40, 50, 50, 70]
    assert [mmlu[m].value for m in methods] == pytest.approx([50, 50, 50, 100 / 3])
    assert "average" not in gsm8k and gsm8k["n"] == "10"
    assert row(table, 0, benchmark="mean")["cosd-rule"] is None  # three benchmarks were not run
    commands = [note for note in table.notes if note.startswith("Not run")]
    assert commands[0].endswith(
        f"cosd-eval run --pair toy --tasks mmlu,gsm8k --methods average,co-llm,cosd-tree --out {results.folder}"
    )
    assert "--tasks humaneval,tinyHellaswag,tinyTruthfulQA --methods draft,assistant" in commands[1]
    assert "--confirm-run-unsafe-code" in commands[1]


def test_a_mean_stands_only_with_worst_case_regret(results: Results) -> None:
    table = build_table("table8", results, pairs=["toy"])  # its two benchmarks were both run
    mean, worst = row(table, 0, benchmark="mean"), row(table, 0, benchmark="worst-case regret")
    assert (mean["draft"], mean["assistant"]) == (45, 50)
    assert mean["cosd-rule"] == pytest.approx((70 + 100 / 3) / 2)
    assert (worst["draft"], worst["assistant"]) == (10, 0)
    assert worst["cosd-rule"] == pytest.approx(50 / 3)  # on mmlu; on gsm8k it is 20 points above the better member


def test_published_figures_have_their_own_columns_and_footnotes(results: Results) -> None:
    table = build_table("table2", results, published=True)
    assert [b.title for b in table.blocks] == ["pair1", "pair2", "pair3", "pair4"]
    gsm8k = row(table, 2, benchmark="GSM8K")
    assert "cosd-rule" not in gsm8k and gsm8k["cosd-rule published"].value == 45.47
    mean = row(table, 2, benchmark="mean")["draft published"]
    assert mean.value == 46.37 and "the mean is 46.41" in mean.notes[0]
    assert row(table, 1, benchmark="Hellaswag")["draft published"].notes
    keys = [c.key for c in table.blocks[0].columns]
    assert len(keys) == len(set(keys))


def test_published_beside_ours_shows_the_difference(results: Results) -> None:
    cells = tuple(_renamed(cell, "pair3") for cell in results.cells)
    table = build_table("table2", Results(results.folder, cells), published=True, pairs=["pair3"])
    gsm8k = row(table, 0, benchmark="GSM8K")
    assert gsm8k["cosd-rule"].value == 70 and gsm8k["cosd-rule difference"] == pytest.approx(70 - 45.47)


def test_the_discussion_edition_numbers_its_pairs_its_own_way(results: Results) -> None:
    table = build_table("table2", results, published=True, edition="iclr2025")
    assert [b.title for b in table.blocks][:2] == ["pair1 (pair2 in iclr2025)", "pair2 (pair1 in iclr2025)"]
    assert row(table, 1, benchmark="mean")["cosd-rule published"].value == 47.26


def _renamed(cell: Any, pair: str) -> Any:
    from dataclasses import replace

    return replace(cell, pair=pair)


def test_evidence_by_hand(results: Results) -> None:
    table = build_table("evidence", results)
    rule = row(table, 0, task="gsm8k", method="cosd-rule")
    assert (rule["n"], rule["score"]) == (10, 70)
    assert rule["-draft difference"] == pytest.approx(30) and (rule["-draft gained"], rule["-draft lost"]) == (4, 1)
    assert rule["-draft mcnemar"] == pytest.approx(0.375) and rule["-assistant mcnemar"] == pytest.approx(0.5)
    assert (rule["better"], rule["verdict"]) == ("assistant", "same") and rule["regret"] == pytest.approx(-20)
    over = row(table, 1, method="cosd-rule")
    assert (over["tasks"], over["better"], over["same"], over["worse"]) == (2, 0, 2, 0)
    assert over["mean regret"] == pytest.approx((-20 + 50 / 3) / 2) and over["worst regret"] == pytest.approx(50 / 3)
    assert over["where"] == "mmlu"
    assert "mean" not in row(table, 1, method="cosd-rule:alpha=0.25")  # run on one of the two tasks


def test_oracle_by_hand(results: Results) -> None:
    table = build_table("oracle", results)
    best = row(table, 0, task="gsm8k", method="oracle")
    assert best["score"] == pytest.approx(70) and best["difference"] == pytest.approx(20)
    rule = row(table, 0, task="gsm8k", method="cosd-rule")
    assert rule["only"] == pytest.approx(10)  # document 7
    assert rule["lost"] == pytest.approx(10)  # document 3
    assert rule["gained"] == pytest.approx(100)


def test_cost_by_hand(results: Results) -> None:
    table = build_table("cost", results)
    rule = row(table, 0, task="gsm8k", method="cosd-rule")
    assert rule["ms"] == pytest.approx(1000 * (0.05 + 0.1) / 5) and rule["× draft"] == pytest.approx(3)
    assert (rule["calls"], rule["read"], rule["replaced"], rule["discarded"]) == pytest.approx((3 / 5, 10 / 5, 40, 25))
    assert row(table, 0, task="mmlu", method="draft")["ms"] == pytest.approx(20)


def test_iterations_and_acceptance_by_hand(results: Results) -> None:
    speeds = build_table("table6", results, pairs=["toy"])
    assert row(speeds, 0, method="cosd-rule")["acceptance"] == pytest.approx(0.6)
    rounds = build_table("table7", results, pairs=["toy"])
    assert (
        row(rounds, 0, length="128")["cosd-rule"] == 2
    )  # replaced at the second and at the last token, after which nothing follows


def test_figure2_by_hand(results: Results) -> None:
    table = build_table("figure2", results, pairs=["toy"])
    assert row(table, 0, beta="0.5")["alpha=0.5"] == pytest.approx(70 + 100 / 3)
    assert row(table, 0, beta="0.5").get("alpha=0.25") is None  # run on one task only
    assert row(table, 1, beta="0.5")["alpha=0.5"] == pytest.approx(50 / 3)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("format", ["text", "markdown", "csv", "latex", "json"])
@pytest.mark.parametrize("pairs", [None, ["toy"]])
def test_every_table_renders_in_every_format(results: Results, name: str, format: str, pairs: list[str] | None) -> None:
    text = render(build_table(name, results, published=True, pairs=pairs), format)
    assert text.endswith("\n") and re.search(r"\bnan\b", text, re.IGNORECASE) is None
    if format == "json":
        json.loads(text)
    if format == "csv":
        rows = list(csv.reader(io.StringIO(text)))
        assert len({len(r) for r in rows}) == 1
    if format == "latex":
        assert text.count(r"\toprule") == text.count(r"\bottomrule") == text.count(r"\begin{table}")


def test_an_empty_folder_gives_the_layout_and_the_commands(tmp_path: Path) -> None:
    table = build_table("table2", load_results(tmp_path))
    assert len(table.blocks) == 4 and sum(note.startswith("Not run") for note in table.notes) == 4
    assert build_table("evidence", load_results(tmp_path)).blocks == []


def test_unknown_names_are_named(results: Results) -> None:
    with pytest.raises(UnknownName, match="did you mean 'table2'"):
        build_table("tabel2", results)
    with pytest.raises(UnknownName, match="edition"):
        build_table("table2", results, edition="2025")
    with pytest.raises(UnknownName, match="pair"):
        build_table("table2", results, pairs=["no-such-pair"])
    with pytest.raises(UnknownName, match="format"):
        render(build_table("scores", results), "yaml")


def test_text_is_escaped_for_latex_and_markdown() -> None:
    table = Table("t", "a_b & 100%", [Block("x|y", [Column("k", "k_1"), Column("v", "v", "percent")], [
        {"k": "<b>|`*", "v": Figure(1.0, notes=("note_1",))}])])  # fmt: skip
    latex = render(table, "latex")
    assert (
        r"a\_b \& 100\%" in latex and r"\textless{}b\textgreater{}\textbar{}" in latex and r"\textsuperscript{1} note\_1" in latex
    )
    markdown = render(table, "markdown")
    assert r"\<b\>\|\`\*" in markdown and "1.00\\[1\\]" in markdown


def test_wide_blocks_fold_between_groups() -> None:
    columns = [
        Column("name", "name"),
        *(Column(f"{g}{i}", "figure", "percent", f"group {g}") for g in "abcdef" for i in range(3)),
    ]
    table = Table("t", "title", [Block("", columns, [{"name": "row", **{c.key: 12.34 for c in columns[1:]}}])])
    lines = render(table, "text", width=80).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("row") for line in lines) == 2 and sum(line.count("12.34") for line in lines) == 18
    assert max(map(len, render(table, "text", width=None).splitlines())) > 80


def test_gp_irt_and_plain_means_do_not_share_a_column(results: Results) -> None:
    from dataclasses import replace

    note = "plain mean over the items: the tinyBenchmarks package is not installed"
    tiny = [replace(c, task="tinyGSM8k", notes=(note,)) for c in results.cells if c.task == "gsm8k"]
    irt = [replace(c, task="tinyMMLU", primary=("acc_gpirt", "none"), recorded=(replace(c.recorded[0], metric="acc_gpirt"),))
           for c in results.cells if c.task == "mmlu"]  # fmt: skip
    table = build_table("table2", Results(results.folder, tuple(tiny + irt)), pairs=["toy"])
    assert [b.title for b in table.blocks] == ["toy · gp-IRT", "toy · plain mean"]
    assert [r["task"] for r in table.blocks[0].rows if r.get("n")] == ["tinyMMLU"]
    assert [r["task"] for r in table.blocks[1].rows if r.get("n")] == ["tinyGSM8k"]
    assert any(note.startswith("toy tinyGSM8k: plain mean") for note in table.notes)


def test_a_tree_trained_in_domain_is_marked_everywhere(results: Results) -> None:
    from dataclasses import replace

    def trees(file: str, data: str, samples: int) -> list[Any]:
        label = f"cosd-tree:tree={file}.json"
        learned = f"{label} learned from {samples} samples of {data} (seed 0)"
        inside = (f"TRAINED IN-DOMAIN: {label} learned from {data}",)
        cells = [c for c in results.cells if c.method == "cosd-rule"]
        return [replace(c, method=label, notes=(learned, *(inside if data.startswith(c.task) else ()))) for c in cells]

    inside, outside = trees("in", "gsm8k:train", 3), trees("out", "alpaca_eval", 3)
    both = Results(results.folder, (*results.cells, *inside, *outside))
    chosen = row(build_table("table2", both, pairs=["toy"]), 0, task="gsm8k")["cosd-tree"]
    assert "this is cosd-tree:tree=out.json" in chosen.notes and not any("IN-DOMAIN" in note for note in chosen.notes)
    alone = Results(results.folder, (*results.cells, *inside))
    assert any(
        "IN-DOMAIN" in note for note in row(build_table("table2", alone, pairs=["toy"]), 0, task="gsm8k")["cosd-tree"].notes
    )
    five = row(build_table("table5", both, pairs=["toy"]), 0, task="gsm8k")
    assert five["GSM8K(3)"].notes == ("in-domain",) and five["AlpacaEval(3)"].value == 70 and not five["AlpacaEval(3)"].notes
    for name in ("evidence", "oracle", "cost"):
        text = render(build_table(name, alone, pairs=["toy"]), "text")
        assert "trained on" in text and "in-domain" in text, name
    marked = [r for r in json.loads(render(build_table("scores", alone), "json")) if r["note"]]
    assert {(r["method"], r["task"], r["note"]) for r in marked} == {("cosd-tree:tree=in.json", "gsm8k", "in-domain")}
