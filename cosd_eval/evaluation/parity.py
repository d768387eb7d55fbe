"""Do our scores of each member alone agree with lm-eval's `hf` model, sample by sample?

Both are asked the same lm-eval tasks; `hf` loads the member by itself, with Hugging Face's own attention and `generate`.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import isclose
from pathlib import Path
from typing import Any

import numpy as np

from cosd_eval.config import AssistantMethod, DraftMethod, MethodSpec, load_pair, method_label
from cosd_eval.decoding.pair import Pair, locate
from cosd_eval.errors import ConfigError
from cosd_eval.evaluation.runner import Settings, Silent, fill, quiet
from cosd_eval.evaluation.store import cell_folder, read_samples
from cosd_eval.evaluation.tasks import CellTask, load
from cosd_eval.records import Sample


@dataclass
class Agreement:
    """One (member, task). n: samples; equal: those whose metrics are all the same; same_output: whose texts, or likeliest and
    greedy continuations, are. differing: `task#document` of the others. gap: largest difference of two log-likelihoods (nats)."""

    pair: str
    method: str
    task: str
    n: int = 0
    equal: int = 0
    same_output: int = 0
    gap: float = 0.0
    differing: list[str] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        return self.equal == self.n


def compare(settings: Settings, tell: Callable[[str], None] = lambda _: None) -> Iterator[Agreement]:
    """For each pair, task and member. Settings' methods are not used: each member alone is. Raises UserErrors."""
    with quiet():
        tasks = load(settings.tasks, settings.task_options)
        if any(task.runs_code for task in tasks) and not settings.confirm_unsafe:
            raise ConfigError("humaneval's programs are run, confined, to compare their verdicts: add --confirm-run-unsafe-code.")
        for name in settings.pairs:
            spec = load_pair(name)
            tell(f"{spec.name}: ours")
            with tempfile.TemporaryDirectory() as folder:
                ours = replace(settings, out=Path(folder), truncate=True)  # as `hf` does
                pair = Pair.load(spec, model_dir=settings.model_dir, dtype=settings.dtype, device=settings.device)
                last = len(pair.members) - 1
                methods: list[MethodSpec] = [
                    DraftMethod(),
                    *(AssistantMethod(index=i if i < last else None) for i in range(1, last + 1)),
                ]
                for task in tasks:
                    fill(pair, methods, task, ours, Silent())
                samples = {
                    (method_label(m), t.label): list(read_samples(cell_folder(ours.out, spec.name, method_label(m), t.label)))
                    for m in methods
                    for t in tasks
                }
                dtypes = [member["dtype"] for member in pair.memory()]
                del pair
            for number, method in enumerate(methods):
                tell(f"{spec.name}: lm-eval's hf, {spec.members[number].model}")
                model = _hf(settings, spec.members[number], dtypes[number])
                for task in tasks:
                    theirs = _evaluate(model, task, settings)
                    yield agreement(
                        spec.name, method_label(method), task.label, samples[method_label(method), task.label], theirs
                    )
                del model


def _hf(settings: Settings, member: Any, dtype: str) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(
        pretrained=locate(member.model, settings.model_dir),
        revision=member.revision or "main",
        dtype=dtype,
        device=settings.device or "cpu",
        batch_size=1,
        peft=locate(member.adapter, settings.model_dir) if member.adapter else None,
        gguf_file=member.gguf,
        **member.arguments,
    )


def _evaluate(model: Any, task: CellTask, settings: Settings) -> dict[str, list[dict[str, Any]]]:
    """lm-eval's own logged samples, by task."""
    from lm_eval import evaluator

    task.reseed(settings.task_options.seed)
    results = evaluator.evaluate(
        lm=model,
        task_dict={"tasks": task.tasks, "groups": task.groups},
        limit=settings.limit,
        bootstrap_iters=0,
        system_instruction=settings.system_instruction,
        apply_chat_template=settings.chat,
        fewshot_as_multiturn=settings.multiturn,
        confirm_run_unsafe_code=settings.confirm_unsafe,
    )
    samples: dict[str, list[dict[str, Any]]] = results["samples"]
    return samples


def agreement(
    pair: str, method: str, task: str, ours: Sequence[Sample], theirs: dict[str, list[dict[str, Any]]], close: float = 1e-4
) -> Agreement:
    """theirs: lm-eval's logged samples, of each lm-eval task one a document and filter. close: relative and absolute, for metrics
    that are no counts (a probability, a perplexity)."""
    by_key = {(s.subtask, s.doc_id): s for s in ours}
    found = Agreement(pair, method, task)
    wrong: dict[tuple[str, int], bool] = {}
    for name, logged in theirs.items():
        for sample in logged:
            key = (name, int(sample["doc_id"]))
            responses = [r[0] for r in sample["resps"]]
            if key not in wrong:
                found.n += 1
                same_output, gap = _outputs_agree(by_key[key], responses)
                found.same_output += same_output
                found.gap = max(found.gap, gap)
            wrong[key] = wrong.get(key, False) or not _metrics_agree(by_key[key], sample, responses, close)
    found.differing = [f"{name}#{number}" for (name, number), is_wrong in sorted(wrong.items()) if is_wrong]
    found.equal = found.n - len(found.differing)
    return found


def _metrics_agree(mine: Sample, theirs: dict[str, Any], responses: Sequence[Any], close: float) -> bool:
    values = {m.metric: m.value for m in mine.metrics if m.filter == theirs["filter"]}
    pairs = [
        (values[name], theirs[name]) for name in theirs["metrics"] if isinstance(theirs[name], (int, float, np.number, np.bool_))
    ]
    if mine.outputs[0]["kind"] == "loglikelihood_rolling":  # its metrics are a log-likelihood with a count of words or bytes
        pairs += [(o["log_likelihood"], r) for o, r in zip(mine.outputs, responses, strict=True)]
    return all(isclose(a, float(b), rel_tol=close, abs_tol=close) for a, b in pairs)


def _outputs_agree(mine: Sample, theirs: Sequence[Any]) -> tuple[bool, float]:
    """Equal texts; for scored continuations the same likeliest one and the same greedy flags, and the largest gap."""
    outputs = mine.outputs
    if outputs[0]["kind"] == "generate":
        return [o["text"] for o in outputs] == list(theirs), 0.0
    if outputs[0]["kind"] == "loglikelihood_rolling":
        return True, max(abs(o["log_likelihood"] - float(t)) for o, t in zip(outputs, theirs, strict=True))
    ours, others = [o["log_likelihood"] for o in outputs], [float(t[0]) for t in theirs]
    greedy = [o["is_greedy"] for o in outputs] == [bool(t[1]) for t in theirs]
    return greedy and ours.index(max(ours)) == others.index(max(others)), max(
        abs(a - b) for a, b in zip(ours, others, strict=True)
    )
