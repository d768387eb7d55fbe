"""Writes the made-up results beside this file, whose tables are worked out by hand in tests/unit/test_tables.py.

One pair, `toy`, on a written task (10 documents) and a multiple-choice one with two subjects (3 documents each). The store
itself writes them, so that its format and its readers cannot drift apart unseen. Run: python tests/golden/results/make.py;
it also writes the tables as rendered, in tables/: look at what changed before you keep it.
"""

import shutil
from pathlib import Path
from typing import Any

from cosd_eval.analysis.results import Results, load_results
from cosd_eval.analysis.tables import build_table, render
from cosd_eval.evaluation.store import CellStore, Description
from cosd_eval.records import Counters, Metric, Provenance, Sample, Score

HERE = Path(__file__).parent / "toy-results"
TABLES = Path(__file__).parent / "tables"
MEMBERS = ("small", "large")

GSM8K = {
    "draft": "1111000000",
    "assistant": "1100111000",
    "speculative": "1100111000",
    "cosd-rule": "1110111100",
    "cosd-rule:alpha=0.25": "1111100000",
}
MMLU = {"draft": "110 100", "assistant": "100 110", "speculative": "100 110", "cosd-rule": "100 100"}


def written(method: str, doc: int, right: bool) -> dict[str, Any]:
    """An answer of five tokens; cosd-rule replaces the second and the last, speculative only the second."""
    pieces = ["We", " add", " 2", " =", f" {doc if right else 99}"]
    replaced = {"cosd-rule": {1, 4}, "cosd-rule:alpha=0.25": {1}, "speculative": {1}}.get(method, set())
    solo = {"draft": 0, "assistant": 1}.get(method)
    seen = Provenance()
    for i, piece in enumerate(pieces):
        author = solo if solo is not None else int(i in replaced)
        seen.token.append(10 + i)
        seen.text.append(piece)
        seen.author.append(author)
        draft, assistant = (90 + i if i in replaced else 10 + i), 10 + i
        seen.top.append([None if solo == 1 else draft, None if solo == 0 else assistant])
        seen.top_text.append([None if solo == 1 else (" <b>no" if i in replaced else piece), None if solo == 0 else piece])
        seen.probability.append([None if solo == 1 else (0.3 if i in replaced else 0.9), None if solo == 0 else 0.8])
    work = Counters(prompt_tokens=20, output_tokens=5, rounds=1 + len(replaced), seconds_draft=0.05, first_token=0.01)
    if solo != 0:
        work.assistant_calls, work.assistant_tokens, work.asked = 1 + len(replaced), 10, 5
        work.replaced, work.accepted = len(replaced), 5 - len(replaced)
        work.seconds_verify = 0.1
    if solo != 1:
        work.draft_tokens, work.draft_discarded = 8, 2 if replaced else 0
    text = "".join(pieces)
    return {
        "kind": "generate",
        "text": text,
        "token_ids": seen.token,
        "finish": "end",
        "provenance": vars(seen),
        "counters": vars(work),
    }


def scored(letter: str, log_likelihood: float) -> dict[str, Any]:
    other = log_likelihood - 0.1
    return {
        "kind": "loglikelihood", "continuation": f" {letter}", "log_likelihood": log_likelihood, "is_greedy": log_likelihood > -0.5,
        "per_token": [log_likelihood], "author": [0], "members": [[log_likelihood, other]], "seconds": 0.01,
    }  # fmt: skip


def describe(method: str, task: str, scoring: str, metric: tuple[str, str]) -> Description:
    alpha = {"alpha": 0.25 if "0.25" in method else 0.5, "beta": 0.5} if method.startswith("cosd-rule") else {}
    identity = {
        "pair": {"members": list(MEMBERS)}, "method": {"method": method.partition(":")[0], **alpha},
        "task": {"name": task, "version": 3, "num_fewshot": 5, "scoring": scoring}, "seed": 0,
    }  # fmt: skip
    primary = {"metric": metric[0], "filter": metric[1]}
    return Description("toy", method, task, identity, MEMBERS, primary=primary)


def write(cell: Description, samples: list[Sample], scores: list[Score]) -> None:
    with CellStore(HERE, cell) as store:
        for sample in samples:
            store.append(sample)
        store.write_scores(scores)
        store.write_run({"batch_size": 4, "devices": ["cpu", "cpu"]})


def score(subtask: str | None, values: list[float], metric: tuple[str, str]) -> Score:
    n, mean = len(values), sum(values) / len(values)
    variance = sum((v - mean) ** 2 for v in values) / (n - 1)
    return Score(subtask, *metric, mean, (variance / n) ** 0.5, n)


def gsm8k(method: str, right: str) -> None:
    metric = ("exact_match", "strict-match")
    samples = [
        Sample("gsm8k", "gsm8k", i, f"g{i}", f"Question {i}: <b>how many</b>?", f"#### {i}", [written(method, i, r == "1")],
               [Metric(*metric, float(r)), Metric("exact_match", "flexible-extract", float(r))], 0.15)
        for i, r in enumerate(right)
    ]  # fmt: skip
    values = [float(r) for r in right]
    scores = [score(None, values, (metric[0], filter)) for filter in ("flexible-extract", "strict-match")]
    write(describe(method, "gsm8k", "generation", metric), samples, scores)


def mmlu(method: str, right: str) -> None:
    metric = ("acc", "none")
    samples, scores, every = [], [], []
    for subject, part in zip(("mmlu_anatomy", "mmlu_law"), right.split(), strict=True):
        values = [float(r) for r in part]
        every += values
        scores.append(score(subject, values, metric))
        for i, value in enumerate(values):
            options = [scored("A", -0.3 if value else -1.5), scored("B", -1.4 if value else -0.4)]
            samples.append(
                Sample("mmlu", subject, i, f"{subject}{i}", f"{subject} {i}", " A", options, [Metric(*metric, value)], 0.02)
            )
    write(describe(method, "mmlu", "log-likelihood", metric), samples, [score(None, every, metric), *scores])


def rendered() -> dict[str, str]:
    """File name -> the table as rendered. The folder's name in commands does not depend on where the clone lies."""
    found = load_results(HERE)
    results = Results(Path("toy-results"), found.cells)
    names = ("scores", "evidence", "oracle", "cost", "table2", "table6", "table7", "figure2")
    files = {f"{name}.txt": render(build_table(name, results, pairs=["toy"]), "text") for name in names}
    files["paper-table2.txt"] = render(build_table("table2", results, published=True), "text")
    for extension, format in (("md", "markdown"), ("csv", "csv"), ("tex", "latex"), ("json", "json")):
        files[f"table2.{extension}"] = render(build_table("table2", results, pairs=["toy"]), format)
    return files


if __name__ == "__main__":
    shutil.rmtree(HERE, ignore_errors=True)
    for method, right in GSM8K.items():
        gsm8k(method, right)
    for method, right in MMLU.items():
        mmlu(method, right)
    for lock in HERE.glob("*/*/*/.lock"):
        lock.unlink()
    TABLES.mkdir(exist_ok=True)
    for name, text in rendered().items():
        (TABLES / name).write_text(text, encoding="utf-8")
