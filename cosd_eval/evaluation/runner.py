"""A run: plan the cells, load each pair once, fill what is missing, keep the scores that lm-eval computes from the samples."""

import gc
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from cosd_eval.config import MethodSpec, load_pair, method_label
from cosd_eval.decoding.loop import Options
from cosd_eval.decoding.pair import Pair
from cosd_eval.errors import ConfigError, DataMissing
from cosd_eval.evaluation import learn
from cosd_eval.evaluation.adapter import Cell, PairLM
from cosd_eval.evaluation.store import CellStore, Description
from cosd_eval.evaluation.tasks import CellTask, TaskOptions, load
from cosd_eval.records import Sample, Score

log = logging.getLogger(__name__)
_FILES = ("tree", "deferral")  # parameters of methods that name a file or folder


@dataclass(frozen=True)
class Settings:
    """What `cosd-eval run` was asked for. limit: documents of each lm-eval task. None of options changes what is written."""

    pairs: tuple[str, ...]
    tasks: tuple[str, ...]
    methods: tuple[MethodSpec, ...]
    out: Path
    limit: int | None = None
    model_dir: Path | None = None
    dtype: str | None = None
    device: str | None = None
    options: Options = field(default_factory=Options)
    task_options: TaskOptions = field(default_factory=TaskOptions)
    chat: bool = False
    system_instruction: str | None = None
    fewshot_as_multiturn: bool | None = None
    confirm_unsafe: bool = False
    allow_seen: bool = False
    truncate: bool = False

    @property
    def multiturn(self) -> bool:
        """lm-eval's default: examples are turns of their own where there is a chat."""
        return self.chat if self.fewshot_as_multiturn is None else self.fewshot_as_multiturn


class Progress(Protocol):
    """What a run tells while it works. start and finish enclose one cell; sample comes once a document, new or read back."""

    def loading(self, pair: str) -> None: ...
    def start(self, about: Description, documents: int) -> None: ...
    def sample(self, sample: Sample, new: bool) -> None: ...
    def finish(self, about: Description, scores: Sequence[Score], run: dict[str, Any]) -> None: ...


class Silent:
    """No progress shown."""

    def loading(self, pair: str) -> None: ...
    def start(self, about: Description, documents: int) -> None: ...
    def sample(self, sample: Sample, new: bool) -> None: ...
    def finish(self, about: Description, scores: Sequence[Score], run: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class Filled:
    """One cell as the run leaves it. run: what run.json says."""

    about: Description
    scores: tuple[Score, ...]
    run: dict[str, Any]


def run(settings: Settings, progress: Progress | None = None, load_members: Callable[..., Pair] | None = None) -> list[Filled]:
    """Fill every (pair, method, task) cell. All that can be wrong is looked at before a model is loaded. Raises UserErrors."""
    if settings.fewshot_as_multiturn and not settings.chat:
        raise ConfigError("Few-shot examples as turns need a chat: add --apply-chat-template.")
    specs = [load_pair(name) for name in settings.pairs]
    methods = list({method_label(m): m for m in settings.methods}.values())
    with quiet():
        tasks = load(settings.tasks, settings.task_options)
        _check_consent(tasks, settings.confirm_unsafe)
        filled = []
        for spec in specs:
            (progress or Silent()).loading(spec.name)
            pair = (load_members or Pair.load)(spec, model_dir=settings.model_dir, dtype=settings.dtype, device=settings.device)
            for task in tasks:
                filled += fill(pair, methods, task, settings, progress or Silent())
            del pair
            gc.collect()  # a pair's weights go before the next one's come
    return filled


def _check_consent(tasks: Sequence[CellTask], confirmed: bool) -> None:
    """Raises UnsafeCodeError for tasks that run generated code, without consent or without a way to confine it."""
    from cosd_eval.errors import UnsafeCodeError

    for task in (t for t in tasks if t.runs_code):
        if not confirmed:
            raise UnsafeCodeError(
                f"Task {task.label!r} runs programs that the models wrote (confined): agree with --confirm-run-unsafe-code."
            )
        from cosd_eval.evaluation.sandbox import require_confinement

        require_confinement()


def fill(pair: Pair, methods: Sequence[MethodSpec], task: CellTask, settings: Settings, progress: Progress) -> list[Filled]:
    """The cells of one pair and task, a method after the other. Scoring tasks are computed for all of them in one pass."""
    resolved = [learn.resolved(pair, m, settings.out, settings.task_options.data_dir, settings.options) for m in methods]
    for learned in resolved:
        pair.method(learned)  # one that does not fit these members is told before any other has done its work
    with ExitStack() as open_cells:
        cells = []
        for method, learned in zip(methods, resolved, strict=True):
            notes = learn.judge(learned, method_label(method), task.tasks, settings.allow_seen)
            about = describe(pair, method, learned, task, settings)
            cells.append(Cell(learned, open_cells.enter_context(CellStore(settings.out, about)), notes=notes))
        # members with different vocabularies read different ids, so their cells can't be scored together
        return [
            _fill_cell(pair, cell, [c for c in cells if c is not cell and pair.shared], task, settings, progress)
            for cell in cells
        ]


def _fill_cell(pair: Pair, cell: Cell, others: list[Cell], task: CellTask, settings: Settings, progress: Progress) -> Filled:
    from lm_eval import evaluator

    limit = effective_limit(settings.limit, cell.store, task.sizes())
    progress.start(cell.store.about, sum(min(n, limit or n) for n in task.sizes().values()))
    model = PairLM(pair, task.tasks, cell, others, settings.options, progress.sample, settings.truncate)
    task.reseed(settings.task_options.seed)
    with _timed([cell, *others], pair, settings):
        results = evaluator.evaluate(
            lm=model,
            task_dict={"tasks": task.tasks, "groups": task.groups},
            limit=limit,
            log_samples=False,
            bootstrap_iters=1000,
            system_instruction=settings.system_instruction,
            apply_chat_template=settings.chat,
            fewshot_as_multiturn=settings.multiturn,
            confirm_run_unsafe_code=settings.confirm_unsafe,
        )
    scores, notes, primary = with_estimate(collect_scores(results, task), task, cell.store)
    cell.store.describe(notes=(*notes, *cell.notes), primary=primary)
    cell.store.write_scores(scores)
    run = cell.store.read_run()
    progress.finish(cell.store.about, scores, run)
    return Filled(cell.store.about, tuple(scores), run)


@contextmanager
def _timed(cells: Sequence[Cell], pair: Pair, settings: Settings) -> Iterator[None]:
    """Adds what the work within cost to the run.json of each cell that got samples from it, also where it is broken off."""
    before = [len(cell.new) for cell in cells]
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds = time.perf_counter() - started
        for cell, count in zip(cells, before, strict=True):
            if len(cell.new) > count:
                cell.store.write_run(_run_facts(cell, cell.new[count:], seconds, pair, settings))


def effective_limit(limit: int | None, store: CellStore, sizes: dict[str, int]) -> int | None:
    """Never fewer documents than the cell holds: its scores describe all that is there, also when less was asked for."""
    if limit is None or limit <= 0:
        return None
    whole = min(_finished_from_start(store, name, size) for name, size in sizes.items())
    return max(limit, int(whole)) if whole != float("inf") else None


def _finished_from_start(store: CellStore, name: str, size: int) -> float:
    count = next((i for i in range(size) if (name, i) not in store.samples), size)
    return float("inf") if count == size else count


# -- identity ---------------------------------------------------------------------------------------------------------------


def describe(pair: Pair, method: MethodSpec, learned: MethodSpec, task: CellTask, settings: Settings) -> Description:
    """What cell.json says; its identity holds all that changes outputs, and nothing that does not. learned: the method with
    the tree or layer it uses, the default one where `method` names none."""
    metric, filter_name = task.primary()
    identity = {
        "pair": pair.identity(),
        "method": method_identity(learned),
        "task": {
            **task.identity(settings.task_options.seed),
            "chat": _chat_identity(pair, settings),
            **({"truncated": True} if settings.truncate else {}),
        },
    }
    return Description(
        pair=pair.spec.name,
        method=method_label(method),
        task=task.label,
        identity=json.loads(json.dumps(identity)),
        members=tuple(_short_name(m.model, m.adapter) for m in pair.spec.members),
        published={str(edition): name for edition, name in pair.spec.published.items()},
        primary={"metric": metric, "filter": filter_name},
        notes=task.notes,
    )


def method_identity(method: MethodSpec) -> dict[str, Any]:
    """The method and all its parameters; a file or folder it names by its content, wherever it lies."""
    parameters = method.model_dump(mode="json")
    for name in _FILES:
        if parameters.get(name):
            parameters[name] = content_digest(Path(parameters[name]))
    return parameters


def content_digest(path: Path) -> str:
    """Of a file, or of all files in a folder with their names. Raises DataMissing."""
    if not path.exists():
        raise DataMissing(f"There is no {path}: check the path, or make it with `cosd-eval train`.")
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.relative_to(path)}\0".encode() + file.read_bytes())
    return total.hexdigest()[:12]


def _chat_identity(pair: Pair, settings: Settings) -> dict[str, Any]:
    template = pair.tokenizer.chat_template if settings.chat else None
    if settings.chat and not template:
        raise ConfigError(f"The draft of pair {pair.spec.name!r} has no chat template: leave out --apply-chat-template.")
    return {
        "template": hashlib.sha256(str(template).encode()).hexdigest()[:12] if template else None,
        "system": settings.system_instruction,
        "multiturn": settings.multiturn,
    }


def _short_name(model: str, adapter: str | None) -> str:
    name = Path(model).name
    return f"{name}+{Path(adapter).name}" if adapter else name


# -- scores -----------------------------------------------------------------------------------------------------------------


def collect_scores(results: dict[str, Any], task: CellTask) -> list[Score]:
    """lm-eval's "acc,none" results as rows: the cell's own first, then those of its subtasks and subgroups."""
    rows = []
    for name, values in results["results"].items():
        subtask = None if name == task.label or len(results["results"]) == 1 else name
        better = results["higher_is_better"].get(name, {})
        for key, value in values.items():
            metric, comma, filter_name = key.partition(",")
            if not comma or metric.endswith("_stderr"):
                continue
            stderr = values.get(f"{metric}_stderr,{filter_name}")
            rows.append(
                Score(
                    subtask, metric, filter_name, float(value), float(stderr) if isinstance(stderr, (int, float)) else None,
                    int(values.get("sample_len", 0)), better.get(metric) is not False,
                )
            )  # fmt: skip
    return sorted(rows, key=lambda row: row.subtask is not None)


def with_estimate(scores: list[Score], task: CellTask, store: CellStore) -> tuple[list[Score], tuple[str, ...], dict[str, str]]:
    """tinyBenchmarks: gp-IRT as a metric of its own beside the plain mean, where the package, its parameters and all items
    are at hand; else a note says that the mean is the plain one. Returns scores, notes, the metric to show."""
    metric, filter_name = task.primary()
    primary = {"metric": metric, "filter": filter_name}
    if task.tiny is None or task.label != store.about.task or not any(s.metric == metric for s in scores):
        return scores, task.notes, primary
    from cosd_eval.evaluation import tiny

    shown = next(s for s in scores if s.metric == metric and s.filter == filter_name)
    why_not = tiny.unavailable(shown.n)
    if why_not:
        return [replace(s, note="plain mean") for s in scores], (*task.notes, f"plain mean over the items: {why_not}"), primary
    estimates = []
    for score in scores:
        values = [
            next(m.value for m in sample.metrics if (m.metric, m.filter) == (score.metric, score.filter))
            for _, sample in sorted(store.samples.items())
        ]
        value = tiny.estimate(values, task.tiny)
        estimates.append(replace(score, metric=f"{score.metric}_gpirt", value=value, stderr=None, note="gp-IRT estimate"))
    primary = {"metric": f"{metric}_gpirt", "filter": filter_name}
    return [*estimates, *scores], (*task.notes, "gp-IRT (tinyBenchmarks)"), primary


# -- what a run cost --------------------------------------------------------------------------------------------------------


def _run_facts(cell: Cell, new: Sequence[Sample], seconds: float, pair: Pair, settings: Settings) -> dict[str, Any]:
    """Work of all sessions, from the samples there are. seconds, timed_tokens: of the sessions whose end was seen (a killed
    one is not timed). seconds is the time of a whole pass, which may have served `shared_pass` methods."""
    earlier = cell.store.read_run()
    work = _work(list(cell.store.samples.values()))
    spent = earlier.get("seconds", 0.0) + seconds
    timed = earlier.get("timed_tokens", 0) + _work(new)["tokens"]
    return {
        **work,
        "documents": len(cell.store.samples),
        "seconds": spent,
        "timed_tokens": timed,
        "tokens_per_second": timed / spent if spent else None,
        "asked_share": work["asked"] / work["tokens"] if work["tokens"] and work["generated"] else None,
        "shared_pass": max(cell.shared_pass, earlier.get("shared_pass", 1)),
        "sessions": earlier.get("sessions", 0) + 1,
        "batch_size": settings.options.batch_size,
        "draft_length": settings.options.draft_length,
        "gate": settings.options.gate,
        "devices": [member["device"] for member in pair.memory()],
    }


def _work(samples: Sequence[Sample]) -> dict[str, int]:
    """tokens: written, or of the scored continuations; the rest only for generated text."""
    outputs = [o for s in samples for o in s.outputs]
    counters = [o["counters"] for o in outputs if o["kind"] == "generate"]
    scored = sum(len(o["per_token"]) for o in outputs if o["kind"] != "generate")
    total = {name: sum(c[name] for c in counters) for name in ("rounds", "asked", "replaced", "draft_tokens", "draft_discarded",
                                                               "assistant_calls", "assistant_tokens")}  # fmt: skip
    return {"tokens": sum(c["output_tokens"] for c in counters) + scored, "generated": len(counters), **total}


@contextmanager
def quiet() -> Iterator[None]:
    """lm-eval, datasets and transformers tell their own progress and warn about what is intended here; ours is enough."""
    from datasets.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    names = ("lm_eval", "datasets", "transformers", "huggingface_hub")
    before = {name: logging.getLogger(name).level for name in names}
    bars = not are_progress_bars_disabled()
    disable_progress_bars()
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
        if bars:
            enable_progress_bars()
