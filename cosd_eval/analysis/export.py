"""Our results as lm-eval 0.4's own files, so that what reads its output reads ours: one folder a (pair, method).

`results_<date>.json` and `samples_<task>_<date>.jsonl` as its EvaluationTracker writes them. What we do not keep is left out or
null, never invented: the raw document (`doc`), and what a filter made of a written answer (`filtered_resps`).
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from cosd_eval.analysis.results import Cell, Results
from cosd_eval.errors import StoreError
from cosd_eval.records import Sample


def export_lm_eval(results: Results, out: str | Path, date: datetime | None = None) -> list[Path]:
    """Write every complete cell under `out`; returns the files. Raises StoreError: there is none, or `out` cannot be written."""
    stamp = (date or datetime.now()).isoformat().replace(":", "-")
    models: dict[tuple[str, str], list[Cell]] = {}
    for cell in results.cells:
        if cell.recorded:
            models.setdefault((cell.pair, cell.method), []).append(cell)
    if not models:
        raise StoreError(
            f"{results.folder} holds no complete cell: run `cosd-eval run ... --out {results.folder}` to its end first."
        )
    files: list[Path] = []
    try:
        for (pair, method), cells in models.items():
            folder = Path(out) / re.sub(r'["<>:/|\\?*\[\]]+', "__", f"{pair}__{method}")
            folder.mkdir(parents=True, exist_ok=True)
            files.append(folder / f"results_{stamp}.json")
            files[-1].write_text(json.dumps(results_file(cells, stamp), indent=2, ensure_ascii=False), encoding="utf-8")
            files += [path for cell in cells for path in _write_samples(cell, folder, stamp)]
    except OSError as e:
        raise StoreError(f"{out} cannot be written ({e.strerror or e}): choose another --output.") from None
    return files


def results_file(cells: list[Cell], date: str) -> dict[str, Any]:
    """The content of results_<date>.json for the cells of one pair and method."""
    content: dict[str, Any] = {key: {} for key in ("results", "groups", "group_subtasks", "configs", "versions", "n-shot",
                                                   "higher_is_better", "n-samples")}  # fmt: skip
    for cell in cells:
        subtasks = list(dict.fromkeys(s.subtask for s in cell.recorded if s.subtask is not None))
        content["group_subtasks"][cell.task] = subtasks
        task = cell.identity.get("task")
        settings = task if isinstance(task, dict) else {}
        for score in cell.recorded:
            name = score.subtask or cell.task
            row = content["results"].setdefault(name, {"alias": name, "sample_len": score.n})
            row[f"{score.metric},{score.filter}"] = score.value
            row[f"{score.metric}_stderr,{score.filter}"] = "N/A" if score.stderr is None else score.stderr
            content["higher_is_better"].setdefault(name, {})[score.metric] = score.higher_is_better
            content["n-samples"][name] = {"effective": score.n}
            content["versions"][name] = settings.get("version")
            content["n-shot"][name] = settings.get("num_fewshot")
        if subtasks:
            content["groups"][cell.task] = content["results"].get(cell.task, {})
        content["configs"][cell.task] = settings
    first = cells[0]
    arguments = {"pair": first.pair, "method": first.method, "identity": first.identity.get("pair")}
    name = f"{first.pair} {first.method}"
    return {
        **content,
        "config": {"model": "cosd-eval", "model_args": arguments},
        "model_source": "cosd-eval",
        "model_name": name,
        "date": date,
    }


def _write_samples(cell: Cell, folder: Path, date: str) -> Iterator[Path]:
    tasks: dict[str, list[Sample]] = {}
    for sample in cell.read_samples():
        tasks.setdefault(sample.subtask, []).append(sample)
    for task, samples in tasks.items():
        path = folder / f"samples_{re.sub(r'[^A-Za-z0-9_.-]+', '-', task)}_{date}.jsonl"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in sample_lines(samples))
        yield path


def sample_lines(samples: Iterable[Sample]) -> Iterator[dict[str, Any]]:
    """One line a document and filter, in the order of documents, as lm-eval logs them."""
    for sample in sorted(samples, key=lambda s: s.doc_id):
        for filter in dict.fromkeys(metric.filter for metric in sample.metrics):
            metrics = {m.metric: m.value for m in sample.metrics if m.filter == filter}
            responses = [[_response(output)] for output in sample.outputs]
            scored = all("log_likelihood" in output for output in sample.outputs)
            yield {
                "doc_id": sample.doc_id, "target": sample.target, "arguments": _arguments(sample), "resps": responses,
                "filtered_resps": [r[0] for r in responses] if scored else None, "filter": filter, "metrics": list(metrics),
                "doc_hash": sample.doc_hash, "prompt_hash": _hash(sample.prompt), "target_hash": _hash(sample.target), **metrics,
            }  # fmt: skip


def _response(output: dict[str, Any]) -> Any:
    if "log_likelihood" in output:  # lm-eval turns both into text before it writes them
        return [str(output["log_likelihood"]), str(output["is_greedy"])]
    return output.get("text", "")


def _arguments(sample: Sample) -> dict[str, dict[str, str]]:
    """lm-eval's request arguments: the context and, for a scored continuation, that."""
    arguments = {}
    for i, output in enumerate(sample.outputs):
        context = {"arg_0": output.get("context", sample.prompt)}
        arguments[f"gen_args_{i}"] = context | ({"arg_1": output["continuation"]} if "continuation" in output else {})
    return arguments


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
