"""The report's sample browser as data: a few documents a task, each with every method's output, token by token."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cosd_eval.analysis.results import Cell, Results
from cosd_eval.analysis.trace import turned_down
from cosd_eval.records import Sample

Key = tuple[str, int]
_SHARED = 200  # characters: a common beginning of prompts at least this long is stored once
_LONGEST = 60_000  # characters of a prompt that are kept; the rest is cut in the middle


def browsable(results: Results, per_task: int) -> list[dict[str, Any]]:
    """One dict a (pair, task): {pair, task, members, methods, total, documents, shared}. See `_document` for a document.

    Of a task with more than `per_task` documents, evenly spaced ones are kept, the same for all methods.
    """
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in results.cells:
        if cell.key in results.by_cell:
            groups.setdefault((cell.pair, cell.task), []).append(cell)
    return [_task(results, cells, per_task) for cells in groups.values()]


def _task(results: Results, cells: list[Cell], per_task: int) -> dict[str, Any]:
    keys = sorted({key for cell in cells for key in _keys(results, cell)})
    kept = [keys[i] for i in np.unique(np.linspace(0, len(keys) - 1, min(per_task, len(keys))).astype(int))]
    samples: dict[Key, dict[str, Sample]] = {key: {} for key in kept}
    for cell in cells:
        for sample in cell.read_samples():
            if (sample.subtask, sample.doc_id) in samples:
                samples[sample.subtask, sample.doc_id][cell.method] = sample
    shared = _shared_prompts([next(iter(of_method.values())) for of_method in samples.values() if of_method])
    scores = {cell.method: results.by_cell[cell.key].set_index(["subtask", "doc_id"])["score"].to_dict() for cell in cells}
    methods = [cell.method for cell in cells]
    documents = [_document(key, of_method, methods, scores, shared) for key, of_method in samples.items() if of_method]
    return {
        "pair": cells[0].pair, "task": cells[0].task, "members": list(cells[0].members), "methods": methods, "total": len(keys),
        "shared": shared, "documents": documents,
    }  # fmt: skip


def _keys(results: Results, cell: Cell) -> list[Key]:
    frame = results.by_cell[cell.key]
    return list(zip(frame["subtask"].tolist(), frame["doc_id"].tolist(), strict=True))


def _shared_prompts(samples: Sequence[Sample]) -> dict[str, str]:
    """subtask -> the beginning that all its prompts share (its few-shot examples), up to a line's end."""
    prompts: dict[str, list[str]] = {}
    for sample in samples:
        prompts.setdefault(sample.subtask, []).append(sample.prompt)
    found = {}
    for subtask, texts in prompts.items():
        common = _common_beginning(texts) if len(texts) > 1 else ""
        common = common[: common.rfind("\n\n") + 2]
        if len(common) >= _SHARED:
            found[subtask] = common
    return found


def _common_beginning(texts: list[str]) -> str:
    first, last = min(texts), max(texts)
    return first[: next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))]


def _document(
    key: Key, samples: dict[str, Sample], methods: list[str], scores: dict[str, dict[Key, float]], shared: dict[str, str]
) -> dict[str, Any]:
    """{subtask, id, prompt (after what is shared), target, outputs: one a method, None where it was not run}."""
    first = next(iter(samples.values()))
    prompt = first.prompt.removeprefix(shared.get(first.subtask, ""))
    return {
        "subtask": key[0], "id": key[1], "prompt": _cut(prompt), "target": first.target,
        "outputs": [_output(samples[m], scores[m].get(key)) if m in samples else None for m in methods],
    }  # fmt: skip


def _cut(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST // 2]}\n[… {len(text) - _LONGEST} characters left out …]\n{text[-_LONGEST // 2 :]}"


def _output(sample: Sample, score: float | None) -> dict[str, Any]:
    """{score, and either choices or tokens}: see `_choices`, `_tokens`."""
    known = None if score is None or np.isnan(score) else round(float(score), 4)
    written = next((o for o in sample.outputs if "provenance" in o), None)
    return {"score": known, **(_tokens(written) if written else {"choices": _choices(sample)})}


def _choices(sample: Sample) -> list[list[Any]]:
    """[continuation, log-likelihood, the members' own log-likelihoods] each; where choices are contexts, the end of those."""
    rows = []
    for output in sample.outputs:
        text = output.get("continuation", "")
        if "context" in output:
            text = f"…{output['context'][-60:]}|{text}"
        members = np.array(output["members"], dtype=float)
        rows.append(
            [
                text,
                _nats(output["log_likelihood"]),
                [_nats(float(v)) for v in members.sum(axis=0)] if members.ndim == 2 else [],
            ]
        )
    return rows


def _nats(value: float) -> float:
    """Three digits; JSON has no infinity."""
    return round(max(value, -1e6), 3)


def _tokens(output: dict[str, Any]) -> dict[str, Any]:
    """{text: pieces, author, p: the members' probabilities, turned: {position: draft's token thrown away},
    view: {position: the members' first choices where one differs from what was written}, kept: how many of the tokens the
    answer holds (the rest follow a stop string), finish, counters}."""
    seen = output["provenance"]
    places = range(len(seen["token"]))
    turned = {i: text for i in places if (text := turned_down(seen, i)) is not None}
    view = {i: seen["top_text"][i] for i in places if any(t not in (None, seen["token"][i]) for t in seen["top"][i])}
    starts = np.cumsum([0, *(len(piece) for piece in seen["text"])])[:-1]
    kept = int((starts < len(output["text"])).sum()) if "".join(seen["text"]).startswith(output["text"]) else len(places)
    counters = {k: output["counters"][k] for k in ("output_tokens", "rounds", "assistant_calls", "replaced")}
    p = [[None if v is None else round(v, 3) for v in row] for row in seen["probability"]]
    return {
        "text": seen["text"], "author": seen["author"], "p": p, "turned": turned, "view": view, "kept": kept,
        "finish": output["finish"], **counters,
    }  # fmt: skip
