"""Every table by name, built from a results folder and rendered as text, markdown, CSV, LaTeX or JSON."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cosd_eval.analysis import published as paper
from cosd_eval.analysis.cost import cost
from cosd_eval.analysis.evidence import evidence, oracle
from cosd_eval.analysis.figure2 import figure2
from cosd_eval.analysis.layouts import pair1_all, swapped, table2, table3, table8
from cosd_eval.analysis.request import Request
from cosd_eval.analysis.results import Results
from cosd_eval.analysis.scores import scores
from cosd_eval.analysis.selection import choose_pairs
from cosd_eval.analysis.speed import table6, table7
from cosd_eval.analysis.table import FORMATS, Table, render
from cosd_eval.analysis.table5 import table5
from cosd_eval.errors import UnknownName

__all__ = ["FORMATS", "TABLES", "Kind", "Table", "build_table", "render"]


@dataclass(frozen=True)
class Kind:
    """A table that can be asked for by name."""

    build: Callable[[Request], Table]
    description: str


TABLES: dict[str, Kind] = {
    "scores": Kind(scores, "every metric of every cell, with standard error and n"),
    "evidence": Kind(evidence, "intervals, paired differences with each member and the better one, tests, regret"),
    "oracle": Kind(oracle, "what perfect routing between the members would reach; what only a method got right"),
    "cost": Kind(cost, "assistant tokens and calls, time per token against the members alone"),
    "table2": Kind(table2, "the paper's main table: pairs 1 to 4, seven methods, five benchmarks"),
    "table3": Kind(table3, "pairs 5 and 6, whose tokenizers differ"),
    "table5": Kind(table5, "CoSD-Tree by the data its tree was trained on"),
    "table6": Kind(table6, "milliseconds per token and acceptance rate"),
    "table7": Kind(table7, "iterations for outputs of 128, 256 and 512 tokens"),
    "table8": Kind(table8, "three members"),
    "figure2": Kind(figure2, "CoSD-Rule over a grid of alpha and beta"),
    "swapped": Kind(swapped, "draft and assistant exchanged"),
    "pair1-all": Kind(pair1_all, "pair 1 of the ICLR discussion on six benchmarks"),
}


def build_table(
    name: str, results: Results, *, published: bool = False, edition: str = "icml2025", pairs: Sequence[str] | None = None
) -> Table:
    """One of TABLES. published: the paper's figures beside ours, from `edition`. pairs: which, instead of the table's own.

    Raises UnknownName for a table, edition or pair that there is not.
    """
    if name not in TABLES:
        raise UnknownName("table", name, TABLES)
    paper.check_edition(edition)
    chosen = tuple(choose_pairs(results, pairs)) if pairs else ()
    return TABLES[name].build(Request(results, chosen, published, edition))
