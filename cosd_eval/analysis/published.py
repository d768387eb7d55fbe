"""The paper's figures (published.json) by table, edition, pair, benchmark and method. Percentages unless said otherwise.

Two editions: icml2025 (final) and iclr2025 (the ICLR discussion); each numbers pairs 1 and 2 in its own way.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

from cosd_eval.errors import UnknownName

EDITIONS = ("icml2025", "iclr2025")
MEAN = "mean"  # the benchmark name of a printed average

METHODS = {
    "draft": "draft", "assist": "assistant", "spec_dec": "speculative", "avg_dec": "average", "co_llm": "co-llm",
    "cosd_rule": "cosd-rule", "cosd_tree": "cosd-tree", "char_ed": "char-ed",
}  # fmt: skip
SHORT = {"rule": "cosd-rule", "tree": "cosd-tree", "spec": "speculative", "spec_dec": "speculative"}

Figures = dict[tuple[str, str, str], float]  # (pair in the edition's numbering, benchmark or MEAN, method) -> percent


@cache
def load() -> dict[str, Any]:
    """published.json as it is."""
    content: dict[str, Any] = json.loads((Path(__file__).parent / "published.json").read_text(encoding="utf-8"))
    return content


def check_edition(edition: str) -> None:
    """Raises UnknownName."""
    if edition not in EDITIONS:
        raise UnknownName("edition", edition, EDITIONS)


def pair_in(edition: str, pair: str) -> str | None:
    """The edition's name of a pair that is given by its final (icml2025) name; None where it does not appear."""
    listed = load()["pairs"].get(pair, {})
    return pair if edition == "icml2025" and listed else listed.get("iclr2025")


def final_name(edition: str, pair: str) -> str:
    """The final (icml2025) name of a pair that is given by an edition's name."""
    return next((name for name in load()["pairs"] if pair_in(edition, name) == pair), pair)


def _columns(content: dict[str, Any], columns: list[str], pair: str) -> Figures:
    names = [METHODS[c] for c in columns]
    return {
        (pair, MEAN if benchmark == "AVG_printed" else benchmark, method): value
        for benchmark, values in content.items()
        if benchmark != "columns"
        for method, value in zip(names, values, strict=True)
    }


def table2(edition: str) -> Figures:
    data = load()[edition]
    if edition == "icml2025":
        return {key: v for pair, rows in data["table2"].items() for key, v in _columns(rows, data["columns"], pair).items()}
    means = data["table2_mean_of_mmlu_gsm8k_humaneval"]
    return {key: v for pair, values in means.items() for key, v in _columns({MEAN: values}, data["columns"], pair).items()}


def table3() -> Figures:
    data = load()["icml2025"]["table3"]
    pairs = {pair: rows for pair, rows in data.items() if pair != "columns"}
    return {key: v for pair, rows in pairs.items() for key, v in _columns(rows, data["columns"], pair).items()}


def pair1_all() -> Figures:
    """iclr2025's pair 1 on six benchmarks."""
    data = load()["iclr2025"]
    return _columns(data["pair1_all_benchmarks"], data["columns"], "pair1")


def swapped() -> Figures:
    """iclr2025's pair 1 with draft and assistant swapped: "draft" is the former assistant."""
    data = load()["iclr2025"]["pair1_swapped"]
    return _columns(data, data["columns"], "pair1")


def table5() -> dict[tuple[str, str], float]:
    """(benchmark, training data as `MMLU(10)`) -> cosd-tree's score on pair 3."""
    data = load()["icml2025"]["table5"]
    return {(b, c): v for b in ("MMLU", "GSM8K", "HumanEval") for c, v in zip(data["train_cols"], data[b], strict=True)}


def table6() -> dict[str, tuple[float, float]]:
    """method -> (milliseconds per token, acceptance rate) on pair 3."""
    data = load()["icml2025"]["table6"]
    return {SHORT[name]: (v["latency_ms"], v["acc"]) for name, v in data.items() if name in SHORT}


def table7() -> dict[tuple[int, str], float]:
    """(output length, method) -> mean number of iterations; the pair is not stated."""
    data = load()["icml2025"]["table7"]
    return {(n, SHORT[c]): v for n in (128, 256, 512) for c, v in zip(data["cols"], data[str(n)], strict=True)}


def table8() -> Figures:
    """The trio; methods `draft`, `assistant:index=1`, `assistant`, `cosd-rule`, `cosd-tree`."""
    data = load()["icml2025"]["table8"]
    methods = ("draft", "assistant:index=1", "assistant", "cosd-rule", "cosd-tree")
    return {("trio", b, m): v for b in ("MMLU", "GSM8K") for m, v in zip(methods, data[b], strict=True)}


def figure2() -> dict[tuple[str, float, float], float]:
    """(pair, alpha, beta) -> MMLU + GSM8K. The left panel is captioned pair 1 but holds pair 3 (see `inconsistencies`)."""
    data = load()["icml2025"]["figure2"]
    panels = {"left": "pair3", "right": "pair2"}
    return {
        (panels[side], alpha, float(beta)): value
        for side, rows in data["rows_beta"].items()
        for beta, values in rows.items()
        for alpha, value in zip(data["alpha"], values, strict=True)
    }


# Where each of published.json's known_inconsistencies, in its order, touches a figure. Pairs in the edition's numbering; the last
# two are about a method itself, whatever the pair.
_TOUCHES: tuple[tuple[dict[str, tuple[str, ...]], ...], ...] = (
    ({"table": ("table2",), "edition": ("icml2025",), "pair": ("pair2", "pair3"), "benchmark": (MEAN,), "method": ("draft",)},),
    ({"table": ("figure2",), "pair": ("pair3",)},),
    ({"table": ("table3",), "pair": ("pair6",), "benchmark": ("HumanEval",), "method": ("draft",)},),
    (
        {"table": ("table2",), "edition": ("icml2025",), "pair": ("pair2",), "benchmark": ("Hellaswag", "TruthfulQA"),
         "method": ("draft", "assistant")},
        {"table": ("pair1-all",), "pair": ("pair1",), "benchmark": ("Hellaswag", "TruthfulQA"), "method": ("draft", "assistant")},
    ),
    ({"table": ("table2",), "edition": ("iclr2025",), "pair": ("pair3",), "benchmark": (MEAN,), "method": ("average",)},),
    ({"pair": ("",), "method": ("speculative",)},),
    ({"pair": ("",), "method": ("cosd-rule",)},),
)  # fmt: skip


def inconsistencies(table: str, edition: str, pair: str = "", benchmark: str = "", method: str = "") -> tuple[str, ...]:
    """The known inconsistencies that touch this published figure; without a pair, those that touch the method itself."""
    place = {"table": table, "edition": edition, "pair": pair, "benchmark": benchmark, "method": method}
    return tuple(
        text
        for text, touched in zip(load()["known_inconsistencies"], _TOUCHES, strict=True)
        if any(all(place[word] in allowed for word, allowed in where.items()) for where in touched)
    )
