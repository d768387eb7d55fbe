"""Times systems side by side in one run: the same prompts, greedy, warm-up first, order rotated, medians over repeats."""

import ctypes
import gc
import json
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from cosd_eval.bench import floor, peers
from cosd_eval.bench.work import Work
from cosd_eval.config import MethodSpec, method_label
from cosd_eval.decoding.loop import Options
from cosd_eval.decoding.pair import Pair
from cosd_eval.records import Counters

MEGABYTE = 1 << 20


@dataclass
class Outcome:
    """One execution. units: tokens written (generation) or requests scored; ids where the system hands them out."""

    seconds: float
    units: int
    ids: list[list[int]] = field(default_factory=list)
    first_token: float | None = None
    counters: list[Counters] = field(default_factory=list)
    memory_mb: float = 0.0  # over the weights
    rows_mb: float = 0.0  # of that, key/value rows
    floor: float | None = None  # seconds of the same forward passes alone


@dataclass(frozen=True)
class System:
    """One line of the table. group: ours, peer. requests: how many of the task's it runs on (slow ones run on fewer,
    so compare rates)."""

    name: str
    group: str
    batch: int
    requests: int
    run: Callable[[], Outcome]


class PeakMemory:
    """Highest memory of this process inside the block, over `base` bytes, in MB (resident; on a GPU: allocated there)."""

    def __init__(self, base: int) -> None:
        self.base = base

    def __enter__(self) -> "PeakMemory":
        self.peak = in_use()
        self.cuda = torch.cuda.is_available()
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        else:
            self.done = threading.Event()
            self.watcher = threading.Thread(target=self._watch, daemon=True)
            self.watcher.start()
        return self

    def _watch(self) -> None:
        while not self.done.wait(0.02):
            self.peak = max(self.peak, _resident())

    def __exit__(self, *_: object) -> None:
        if self.cuda:
            self.peak = torch.cuda.max_memory_allocated()
        else:
            self.done.set()
            self.watcher.join()

    @property
    def megabytes(self) -> float:
        return max(0.0, (self.peak - self.base) / MEGABYTE)


def in_use() -> int:
    """Bytes in use now, what was freed given back first."""
    gc.collect()
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated()
    with suppress(OSError, AttributeError):  # glibc keeps freed memory otherwise
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return _resident()


def _resident() -> int:
    """Bytes of this process's own memory (not of mapped files)."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# -- systems ----------------------------------------------------------------------------------------------------------------


def ours(pair: Pair, work: Work, methods: Sequence[MethodSpec], batches: Sequence[int], few: int) -> list[System]:
    """Each method at each batch size."""
    systems = []
    for method in methods:
        for batch in batches:
            part = work.first(requests_at(work, batch, few))
            run = _ours_writing if part.generate else _ours_scoring
            systems.append(
                System(method_label(method), "ours", batch, len(part.instances), _bind(run, pair, part, method, batch))
            )
    return systems


def requests_at(work: Work, batch: int, few: int) -> int:
    """How many requests a system runs on: all where answers are scored; of what is written the first `few`, or one batch if
    that is more. Whoever runs at the same batch size runs on the same ones."""
    return len(work.instances) if work.score else min(max(few, batch), len(work.instances))


def _bind(run: Callable[..., Outcome], *arguments: Any) -> Callable[[], Outcome]:
    return lambda: run(*arguments)


def _ours_writing(pair: Pair, work: Work, method: MethodSpec, batch: int) -> Outcome:
    begin = time.perf_counter()
    decoded = pair.generate(work.generate, method, Options(batch_size=batch))
    seconds = time.perf_counter() - begin
    return Outcome(
        seconds,
        sum(len(d.token_ids) for d in decoded),
        [d.token_ids for d in decoded],
        statistics.mean(d.counters.first_token for d in decoded),
        [d.counters for d in decoded],
        rows_mb=_rows_mb(pair),
    )


def _ours_scoring(pair: Pair, work: Work, method: MethodSpec, batch: int) -> Outcome:
    begin = time.perf_counter()
    pair.score(work.score, [method], Options(batch_size=batch))
    return Outcome(time.perf_counter() - begin, len(work.score), rows_mb=_rows_mb(pair))


def _rows_mb(pair: Pair) -> float:
    return sum(m.rows.nbytes() for m in pair.members) / MEGABYTE


def transformers_systems(models: Sequence[Any], tokenizer: Any, work: Work, few: int, end: frozenset[int]) -> list[System]:
    """generate alone, assisted, with its ensemble weight; and the naive reference: all one sequence at a time."""
    draft, assistant = models[0], models[-1]
    count = requests_at(work, 1, few)
    part = work.first(count)

    def each(write: Callable[[Any], tuple[list[int], float]]) -> Callable[[], Outcome]:
        def run() -> Outcome:
            begin = time.perf_counter()
            results = [write(r) for r in part.generate]
            seconds = time.perf_counter() - begin
            ids = [r[0] for r in results]
            return Outcome(seconds, sum(map(len, ids)), ids, statistics.mean(r[1] for r in results))

        return run

    alone = each(lambda r: peers.generate(assistant, tokenizer, r))
    assisted = each(lambda r: peers.generate(assistant, tokenizer, r, assistant_model=draft))
    ensemble = each(lambda r: peers.generate(assistant, tokenizer, r, assistant_model=draft, assistant_ensemble_weight=0.5))
    naive = each(lambda r: peers.every_token([draft, assistant], peers.rule(0.5, 0.5), r, end, tokenizer))
    return [
        System("transformers generate, assistant", "peer", 1, count, alone),
        System("transformers generate, assisted", "peer", 1, count, assisted),
        System("transformers generate, assisted, ensemble weight 0.5", "peer", 1, count, ensemble),
        System("both models at every token, cosd-rule", "peer", 1, count, naive),
    ]


def lm_eval_systems(
    models: Sequence[Any], tokenizer: Any, work: Work, batches: Sequence[int], few: int, max_length: int
) -> list[System]:
    """lm-eval's `hf` model with the draft and with the last assistant, at each batch size."""
    systems = []
    for name, model in (("draft", models[0]), ("assistant", models[-1])):
        for batch in batches:
            part = work.first(requests_at(work, batch, few))
            run = _bind(_lm_eval, model, tokenizer, part, batch, max_length)
            systems.append(System(f"lm-eval hf, {name}", "peer", batch, len(part.instances), run))
    return systems


def _lm_eval(model: Any, tokenizer: Any, work: Work, batch: int, max_length: int) -> Outcome:
    lm = peers.lm_eval_model(model, tokenizer, batch, max_length)
    begin = time.perf_counter()
    if work.generate:
        texts = lm.generate_until(list(work.instances), disable_tqdm=True)
        return Outcome(time.perf_counter() - begin, peers.tokens_written(tokenizer, texts))
    lm.loglikelihood(list(work.instances), disable_tqdm=True)
    return Outcome(time.perf_counter() - begin, len(work.instances))


def systems(
    pair: Pair, plain: Sequence[Any], work: Work, methods: Sequence[MethodSpec], batches: Sequence[int], few: int
) -> list[System]:
    """Ours and, where plain models are given, the peers that can do this work, by batch size: what is compared runs close
    together."""
    found = ours(pair, work, methods, batches, few)
    if plain and work.generate:
        end = frozenset().union(*(m.end_tokens for m in pair.members))
        found += transformers_systems(plain, pair.tokenizer, work, few, end)
    if plain:
        found += lm_eval_systems(plain, pair.tokenizer, work, batches, few, pair.max_length)
    return sorted(found, key=lambda system: system.batch)


# -- running them -----------------------------------------------------------------------------------------------------------


def run(pair: Pair, systems: Sequence[System], repeats: int, base: int, say: Callable[[str], None]) -> dict[int, list[Outcome]]:
    """`repeats` outcomes of each system (by its place), each repeat in another order. base: bytes in use by the models alone."""
    outcomes: dict[int, list[Outcome]] = {i: [] for i in range(len(systems))}
    for repeat in range(repeats):
        order = [(i + repeat) % len(systems) for i in range(len(systems))]
        for i in order:
            system = systems[i]
            with PeakMemory(base) as memory, floor.recording(pair.members) as passes:
                outcome = system.run()
            outcome.memory_mb = memory.megabytes
            outcome.floor = floor.seconds(passes) if passes else None
            outcomes[i].append(outcome)
            say(f"{repeat + 1}/{repeats} {system.name}, batch {system.batch}: {outcome.units / outcome.seconds:.1f}/s")
    return outcomes


def table(systems: Sequence[System], outcomes: dict[int, list[Outcome]], unit: str) -> list[dict[str, Any]]:
    """One row a system: rate (median), its spread, and what the counters say."""
    rows = []
    for i, system in enumerate(systems):
        rates = sorted(o.units / o.seconds for o in outcomes[i])
        last = outcomes[i][-1]
        row: dict[str, Any] = {
            "system": system.name,
            "group": system.group,
            "batch": system.batch,
            "requests": system.requests,
            f"{unit}_per_second": statistics.median(rates),
            "lowest": rates[0],
            "highest": rates[-1],
            "seconds": statistics.median(o.seconds for o in outcomes[i]),
            "units": last.units,
            "first_token_seconds": None
            if last.first_token is None
            else statistics.median(o.first_token or 0.0 for o in outcomes[i]),
            "overhead_over_floor": statistics.median(o.seconds / o.floor for o in outcomes[i] if o.floor) if last.floor else None,
            "memory_over_weights_mb": max(o.memory_mb for o in outcomes[i]),
            "rows_mb": max(o.rows_mb for o in outcomes[i]) if system.group == "ours" else None,
        }
        if last.counters:
            total = {k: sum(asdict(c)[k] for c in last.counters) for k in asdict(last.counters[0])}
            row |= {
                "rounds": total["rounds"],
                "assistant_calls_per_token": total["assistant_calls"] / last.units,
                "asked_per_token": total["asked"] / last.units,
                "draft_thrown_away": total["draft_discarded"] / total["draft_tokens"] if total["draft_tokens"] else 0.0,
            }
        rows.append(row)
    return rows


def agreements(systems: Sequence[System], outcomes: dict[int, list[Outcome]]) -> list[dict[str, Any]]:
    """Which systems must write the same tokens, and on how many of the prompts both ran they do (all of them in float32; in
    bfloat16 other shapes round differently, and a near tie falls the other way). differ: where, the first unequal token."""
    by = {(s.name, s.batch): outcomes[i][-1].ids for i, s in enumerate(systems)}
    same = {
        "assistant": "transformers generate, assistant",
        "speculative": "transformers generate, assisted",
        "cosd-rule": "both models at every token, cosd-rule",
    }
    found = []
    for name, reference in same.items():
        for batch in sorted({s.batch for s in systems}):
            a, b = by.get((name, batch)), by.get((reference, 1))
            if a and b:
                pairs = list(zip(a, b, strict=False))
                differ = [_first_difference(x, y) for x, y in pairs if x != y]
                found.append(
                    {"a": f"{name}, batch {batch}", "b": reference, "equal": len(pairs) - len(differ), "of": len(pairs),
                     "differ": differ}
                )  # fmt: skip
    return found


def _first_difference(a: Sequence[int], b: Sequence[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


RATIOS = (
    # ours, peer, and where the project has an aim: in which tasks, at least what
    (("cosd-rule", 1), ("transformers generate, assisted", 1), {"gsm8k": 1.7}),
    (("cosd-rule", 16), ("transformers generate, assisted", 1), {"gsm8k": 7.0}),
    (("cosd-rule", 16), ("lm-eval hf, assistant", 16), {"gsm8k": 3.0}),
    (("speculative", 1), ("transformers generate, assisted", 1), {"gsm8k": 1.3}),
    (("average", 1), ("transformers generate, assisted, ensemble weight 0.5", 1), {}),
    (("cosd-rule", 1), ("both models at every token, cosd-rule", 1), {}),
    *(
        ((name, batch), (f"lm-eval hf, {name}", batch), {"gsm8k": 5.0, "tinyHellaswag": 3.5, "mmlu": 2.5} if batch == 16 else {})
        for name in ("draft", "assistant")
        for batch in (1, 4, 16)
    ),
)
AIMED = "qwen-coder"  # the aims are for this pair, on the project's reference machine (two cores)
OVERHEAD, SPARE_MB = 1.15, 1024  # at most: over the floor; beyond weights and rows


def ratios(rows: Sequence[dict[str, Any]], unit: str, task: str, pair: str) -> list[dict[str, Any]]:
    """Ours ÷ peer, both measured in this run; `wanted`: the project's aim."""
    by = {(r["system"], r["batch"]): r[f"{unit}_per_second"] for r in rows}
    found = []
    for a, b, aims in RATIOS:
        if a in by and b in by:
            wanted = next((aim for start, aim in aims.items() if pair == AIMED and task.startswith(start)), None)
            found.append(
                {"ours": f"{a[0]}, batch {a[1]}", "peer": f"{b[0]}, batch {b[1]}", "ratio": by[a] / by[b], "wanted": wanted}
            )
    return found


def beyond(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Which of our rows spend more than they should, in words."""
    lines = []
    for row in rows:
        name = f"{row['system']}, batch {row['batch']}"
        if (row["overhead_over_floor"] or 0.0) > OVERHEAD:
            lines.append(f"{name}: {row['overhead_over_floor']:.2f} × the floor, more than {OVERHEAD}")
        if row["rows_mb"] is not None and (spare := row["memory_over_weights_mb"] - row["rows_mb"]) > SPARE_MB:
            lines.append(f"{name}: {spare:.0f} MB beyond weights and rows, more than {SPARE_MB}")
    return lines


def summary(pair: str, work: Work, systems: Sequence[System], outcomes: dict[int, list[Outcome]]) -> dict[str, Any]:
    """All that is kept of one task's outcomes."""
    unit = "tokens" if work.generate else "requests"
    rows = table(systems, outcomes, unit)
    return {
        "unit": unit,
        "requests": len(work.instances),
        "rows": rows,
        "ratios": ratios(rows, unit, work.task, pair),
        "beyond": beyond(rows),
        "equal_tokens": agreements(systems, outcomes),
    }


def machine() -> dict[str, Any]:
    import transformers

    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def write(path: Path, content: dict[str, Any], text: str) -> None:
    """The figures as JSON, and beside them, under the same name, as text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    path.with_suffix(".txt").write_text(text + "\n", encoding="utf-8")
