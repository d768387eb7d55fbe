"""The paper's tables in their published layouts, filled from results; the published figures beside ours when asked for.

A layout's pairs are named as in the final edition. Scores are in percent, as the paper prints them.
"""

from dataclasses import replace

from cosd_eval.analysis import published as paper
from cosd_eval.analysis.pivot import Layout, fill
from cosd_eval.analysis.request import Request
from cosd_eval.analysis.selection import BENCHMARKS
from cosd_eval.analysis.table import Table

SEVEN = ("draft", "assistant", "speculative", "average", "co-llm", "cosd-rule", "cosd-tree")
_SWAP = "Draft and assistant have exchanged their roles."
_PAIR1 = "The ICLR discussion's pair 1 is the final edition's pair 2."


def table2(request: Request) -> Table:
    final = request.edition == "icml2025"
    benchmarks = ("MMLU", "GSM8K", "HumanEval", "Hellaswag", "TruthfulQA") if final else ("MMLU", "GSM8K", "HumanEval")
    pairs = dict.fromkeys(("pair1", "pair2", "pair3", "pair4"), benchmarks)
    notes = (
        ()
        if final
        else ("This edition prints only the mean of MMLU, GSM8K and HumanEval, and numbers pairs 1 and 2 the other way.",)
    )
    figures = paper.table2(request.edition)
    return fill(
        Layout("table2", "Table 2: every method, pair and benchmark", pairs, SEVEN, figures, request.edition, notes=notes),
        request,
    )


def table3(request: Request) -> Table:
    pairs = {"pair5": ("MMLU", "GSM8K"), "pair6": ("MMLU", "HumanEval")}
    methods = ("draft", "assistant", "char-ed", "cosd-rule", "cosd-tree")
    return fill(
        Layout("table3", "Table 3: members with different tokenizers", pairs, methods, paper.table3(), "icml2025"), request
    )


def table8(request: Request) -> Table:
    methods = ("draft", "assistant:index=1", "assistant", "cosd-rule", "cosd-tree")
    headings = {"assistant:index=1": "assistant 1", "assistant": "last assistant"}
    pairs = {"trio": ("MMLU", "GSM8K")}
    return fill(Layout("table8", "Table 8: three members", pairs, methods, paper.table8(), "icml2025", headings), request)


def pair1_all(request: Request) -> Table:
    layout = Layout("pair1-all", "Pair 1 on every benchmark", {"pair2": tuple(BENCHMARKS)}, SEVEN, paper.pair1_all(), "iclr2025")
    return fill(replace(layout, notes=(_PAIR1,)), request)


def swapped(request: Request) -> Table:
    """A pair with its members exchanged: the results' pair that has them in reverse, else the one named `<pair>-swapped`."""
    members = {cell.pair: cell.members for cell in request.results.cells}

    def exchanged(pair: str) -> str:
        found = (p for p, m in members.items() if p != pair and pair in members and m == members[pair][::-1])
        return next(found, f"{pair}-swapped")

    pairs = {pair: exchanged(pair) for pair in request.pairs or ("pair2",)}
    methods = tuple(method for method in SEVEN if method != "average")
    layout = Layout(
        "swapped", "Draft and assistant swapped", dict.fromkeys(pairs.values(), ("MMLU", "GSM8K", "HumanEval")), methods,
        paper.swapped(), "iclr2025", names={pairs["pair2"]: "pair1"} if "pair2" in pairs else {}, notes=(_SWAP, _PAIR1),
    )  # fmt: skip
    return fill(layout, replace(request, pairs=()))
