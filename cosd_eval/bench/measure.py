"""Times systems side by side in one run: the same prompts, greedy, warm-up first, order rotated, medians over repeats."""

import gc
import json
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Sequence
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
    memory_mb: float = 0.0


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
    """Highest resident memory of this process inside the block, over what it was before, in MB (on a GPU: allocated there)."""

    def __enter__(self) -> "PeakMemory":
        gc.collect()
        self.cuda = torch.cuda.is_available()
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
            self.before = torch.cuda.memory_allocated()
        else:
            self.before = self.peak = _resident()
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
        return max(0.0, (self.peak - self.before) / MEGABYTE)


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
    """Each method at each batch size; at batch 1 on the first `few` requests."""
    systems = []
    for method in methods:
        for batch in batches:
            part = work if batch > 1 else work.first(few)
            count = len(part.instances)
            run = _ours_writing if part.generate else _ours_scoring
            systems.append(System(method_label(method), "ours", batch, count, _bind(run, pair, part, method, batch)))
    return systems


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
    )


def _ours_scoring(pair: Pair, work: Work, method: MethodSpec, batch: int) -> Outcome:
    begin = time.perf_counter()
    pair.score(work.score, [method], Options(batch_size=batch))
    return Outcome(time.perf_counter() - begin, len(work.score))


def transformers_systems(models: Sequence[Any], tokenizer: Any, work: Work, few: int, end: frozenset[int]) -> list[System]:
    """generate alone, assisted, with its ensemble weight; and the naive reference: all one sequence at a time."""
    draft, assistant = models[0], models[-1]
    part = work.first(few)

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
        System("transformers generate, assistant", "peer", 1, few, alone),
        System("transformers generate, assisted", "peer", 1, few, assisted),
        System("transformers generate, assisted, ensemble weight 0.5", "peer", 1, few, ensemble),
        System("both models at every token, cosd-rule", "peer", 1, few, naive),
    ]


def lm_eval_systems(models: Sequence[Any], tokenizer: Any, work: Work, batches: Sequence[int], max_length: int) -> list[System]:
    """lm-eval's `hf` model with the draft and with the last assistant, at the largest batch size."""
    systems = []
    for name, model in (("draft", models[0]), ("assistant", models[-1])):
        batch = max(batches)
        systems.append(
            System(
                f"lm-eval hf, {name}",
                "peer",
                batch,
                len(work.instances),
                _bind(_lm_eval, model, tokenizer, work, batch, max_length),
            )
        )
    return systems


def _lm_eval(model: Any, tokenizer: Any, work: Work, batch: int, max_length: int) -> Outcome:
    lm = peers.lm_eval_model(model, tokenizer, batch, max_length)
    begin = time.perf_counter()
    if work.generate:
        texts = lm.generate_until(list(work.instances), disable_tqdm=True)
        return Outcome(time.perf_counter() - begin, peers.tokens_written(tokenizer, texts))
    lm.loglikelihood(list(work.instances), disable_tqdm=True)
    return Outcome(time.perf_counter() - begin, len(work.instances))


# -- running them -----------------------------------------------------------------------------------------------------------


def run(systems: Sequence[System], repeats: int, say: Callable[[str], None]) -> dict[int, list[Outcome]]:
    """`repeats` outcomes of each system (by its place), each repeat in another order."""
    outcomes: dict[int, list[Outcome]] = {i: [] for i in range(len(systems))}
    for repeat in range(repeats):
        order = [(i + repeat) % len(systems) for i in range(len(systems))]
        for i in order:
            system = systems[i]
            with PeakMemory() as memory:
                outcome = system.run()
            outcome.memory_mb = memory.megabytes
            outcomes[i].append(outcome)
            say(f"{repeat + 1}/{repeats} {system.name}, batch {system.batch}: {outcome.units / outcome.seconds:.1f}/s")
    return outcomes


def floors(pair: Pair, systems: Sequence[System]) -> dict[int, float]:
    """For each of our systems: time of the whole ÷ time of its forward passes alone, measured one after the other."""
    found = {}
    for i, system in enumerate(systems):
        if system.group != "ours":
            continue
        with floor.recording(pair.members) as passes:
            whole = system.run().seconds
        found[i] = whole / floor.replay(passes)
    return found


def table(
    systems: Sequence[System], outcomes: dict[int, list[Outcome]], overhead: dict[int, float], unit: str
) -> list[dict[str, Any]]:
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
            "overhead_over_floor": overhead.get(i),
            "memory_over_weights_mb": max(o.memory_mb for o in outcomes[i]),
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
    """Which systems must write the same tokens, and on how many of the prompts both ran they do (all of them in float32)."""
    by = {(s.name, s.batch): outcomes[i][-1].ids for i, s in enumerate(systems)}
    claims = [
        (("assistant", b), ("transformers generate, assistant", 1)) for b in sorted({s.batch for s in systems})
    ] + [
        (("speculative", b), ("transformers generate, assisted", 1)) for b in sorted({s.batch for s in systems})
    ] + [
        (("cosd-rule", b), ("both models at every token, cosd-rule", 1)) for b in sorted({s.batch for s in systems})
    ]  # fmt: skip
    found = []
    for a, b in claims:
        if by.get(a) and by.get(b):
            pairs = list(zip(by[a], by[b], strict=False))
            found.append({"a": f"{a[0]}, batch {a[1]}", "b": b[0], "equal": sum(x == y for x, y in pairs), "of": len(pairs)})
    return found


TARGETS = (
    # what is divided, by what, at least
    (("cosd-rule", 1), ("transformers generate, assisted", 1), 1.7),
    (("cosd-rule", 16), ("transformers generate, assisted", 1), 7.0),
    (("cosd-rule", 16), ("lm-eval hf, assistant", 16), 3.0),
    (("speculative", 1), ("transformers generate, assisted", 1), 1.3),
    (("average", 1), ("transformers generate, assisted, ensemble weight 0.5", 1), None),
    (("cosd-rule", 1), ("both models at every token, cosd-rule", 1), None),
    (("draft", 16), ("lm-eval hf, draft", 16), 5.0),
    (("assistant", 16), ("lm-eval hf, assistant", 16), 5.0),
)


def ratios(rows: Sequence[dict[str, Any]], unit: str) -> list[dict[str, Any]]:
    """Ours ÷ peer, both measured in this run; `wanted` is the project's own aim on its reference machine."""
    by = {(r["system"], r["batch"]): r[f"{unit}_per_second"] for r in rows}
    return [
        {"ours": f"{a[0]}, batch {a[1]}", "peer": f"{b[0]}, batch {b[1]}", "ratio": by[a] / by[b], "wanted": wanted}
        for a, b, wanted in TARGETS
        if a in by and b in by
    ]


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


def write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
