"""Task names to lm-eval tasks: from the hub, from a data folder (the network never touched), built in, or from a YAML file.

The benchmarks in `catalog` are built from lm-eval's own YAML, with its prompts, few-shot, filters and metrics; only where the
documents come from is swapped, and the two parts that would fetch code: HumanEval's scorer and tinyBenchmarks' estimator.
"""

import difflib
import hashlib
import importlib.util
import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import lm_eval.tasks
import yaml
from lm_eval.api.group import Group
from lm_eval.api.task import ConfigurableTask, Task
from lm_eval.config.group import GroupConfig
from lm_eval.tasks import TaskManager

from cosd_eval import config as configuration
from cosd_eval.errors import ConfigError, DataMissing, UnknownName, UnsafeCodeError
from cosd_eval.evaluation import catalog, choice, programs

_STOCK = Path(lm_eval.tasks.__file__).parent
_PROMPT_KEYS = (
    "doc_to_text", "doc_to_target", "doc_to_choice", "description", "target_delimiter", "fewshot_delimiter", "gen_prefix",
    "output_type", "use_prompt", "process_docs", "fewshot_config", "repeats",
)  # fmt: skip
_SCORING_KEYS = ("process_results", "filter_list", "metric_list")


@dataclass(frozen=True)
class TaskOptions:
    """How tasks are asked. num_fewshot: None is the task's own. All of it changes outputs, so all of it is identity."""

    data_dir: Path | None = None
    num_fewshot: int | None = None
    seed: int = 1234
    generate_choices: bool = False


@dataclass(frozen=True)
class CellTask:
    """One cell's task: a single lm-eval task or a group. label: its name in tables. tiny: as in `catalog.Known`."""

    label: str
    tasks: dict[str, Task]
    groups: dict[str, Group]
    source: str
    notes: tuple[str, ...] = ()
    tiny: str | None = None

    @property
    def runs_code(self) -> bool:
        return any(isinstance(t.config.process_results, programs.ProgramScorer) for t in self.tasks.values())

    def sizes(self) -> dict[str, int]:
        """Documents to evaluate, for each lm-eval task."""
        return {name: len(task.eval_docs) for name, task in self.tasks.items()}

    def reseed(self, seed: int) -> None:
        """Few-shot examples are drawn document after document: start anew before each evaluation."""
        for task in self.tasks.values():
            task.set_fewshot_seed(seed=seed)

    def primary(self) -> tuple[str, str]:
        """The metric a table shows, and its filter: acc_norm where the task has it (as the field reports it), else the first."""
        task = next(iter(self.tasks.values()))
        metrics = list(task.aggregation())
        if isinstance(self.groups.get(self.label), Group) and self.groups[self.label].aggregate_metric_list:
            metrics = [m.metric for m in self.groups[self.label].aggregate_metric_list or []]
        return "acc_norm" if "acc_norm" in metrics else metrics[0], task._filters[0].name

    def identity(self, seed: int) -> dict[str, Any]:
        """All that changes what the members are asked and how their answers are judged, as JSON. Not where the data came from:
        the same documents from the hub and from a folder are the same task."""
        leaves = sorted(self.tasks.items())
        settings: dict[str, dict[str, Any]] = {
            "version": {n: str(t.VERSION) for n, t in leaves},
            "num_fewshot": {n: t.config.num_fewshot for n, t in leaves},
            "generation": {n: t.config.generation_kwargs for n, t in leaves},
            "data": {n: _digest(_documents(t)) for n, t in leaves},
            "prompt": {n: _digest([[k, getattr(t.config, k)] for k in _PROMPT_KEYS]) for n, t in leaves},
            "judged": {n: _digest([[k, getattr(t.config, k)] for k in _SCORING_KEYS]) for n, t in leaves},
        }
        kinds = {"generation" if t.OUTPUT_TYPE == "generate_until" else "log-likelihood" for t in self.tasks.values()}
        short = {key: _in_short(key, values) for key, values in settings.items()}
        return {"name": self.label, "seed": seed, "scoring": "/".join(sorted(kinds)), **short}


def _in_short(key: str, values: dict[str, Any]) -> Any:
    """One value where all tasks of a group agree; a digest of all where a list would only be long."""
    distinct = {json.dumps(v, sort_keys=True) for v in values.values()}
    if len(distinct) == 1:
        return next(iter(values.values()))
    return configuration.digest(values) if key in ("data", "prompt", "judged") else values


def _documents(task: Task) -> list[Any]:
    shots = list(task.fewshot_docs() or []) if task.config.num_fewshot else []
    return [list(task.eval_docs), shots]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=_as_json).encode()).hexdigest()[:12]


def _as_json(value: Any) -> Any:
    """Functions by their source, so that a changed prompt function changes the identity; objects by their fields."""
    if inspect.isfunction(value):
        return inspect.getsource(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return value.tolist() if hasattr(value, "tolist") else type(value).__qualname__


# -- names ------------------------------------------------------------------------------------------------------------------


def expand(names: Iterable[str]) -> list[str]:
    """Suites, lm-eval tags and groups without a score of their own become their tasks. Raises UnknownName."""
    suites, tasks = configuration.list_suites(), []
    for name in names:
        for task in suites[name].tasks if name in suites else (name,):
            tasks += _members(task)
    return list(dict.fromkeys(tasks))


def _members(name: str) -> list[str]:
    if _is_file(name) or name in _builtin():
        return [name]
    entry = _entry(name)
    if entry.kind.name == "TAG":
        return sorted(entry.tags)
    if entry.kind.name == "GROUP" and not entry.cfg.get("aggregate_metric_list"):
        return [m for child in entry.cfg["task"] for m in _members(child if isinstance(child, str) else child["task"])]
    return [name]


def _is_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def _builtin() -> dict[str, dict[str, Any]]:
    from cosd_eval import organisms

    return organisms.builtin_tasks()


@cache
def _known_index() -> dict[str, Any]:
    """lm-eval's index of the folders that `catalog` needs; the whole index takes seconds to read."""
    folders = sorted({_STOCK / known.folder for known in catalog.KNOWN.values()})
    index: dict[str, Any] = TaskManager(include_defaults=False, include_path=list(folders)).task_index
    return index


@cache
def _whole_index() -> TaskManager:
    return TaskManager()


def _entry(name: str) -> Any:
    if catalog.find(name) and name in _known_index():
        return _known_index()[name]
    index = _whole_index().task_index
    if name not in index:
        shown = [*catalog.KNOWN, *configuration.list_suites(), *_builtin()]
        near = difflib.get_close_matches(name, [*shown, *index], n=1, cutoff=0.6)
        raise UnknownName("task", name, near or shown, "Any lm-eval task and a path to a task YAML work too.")
    return index[name]


def stock_config(name: str) -> dict[str, Any]:
    """lm-eval's YAML of a task of the catalogue; of a group, that of its first task."""
    entry = _known_index()[name]
    while entry.kind.name != "TASK":
        entry = _known_index()[sorted(entry.tags)[0] if entry.kind.name == "TAG" else entry.cfg["task"][0]]
    config: dict[str, Any] = entry.cfg
    return config


# -- building ---------------------------------------------------------------------------------------------------------------


def load(names: Sequence[str], options: TaskOptions) -> list[CellTask]:
    """The tasks of a run, one a cell, in order. Raises UnknownName, DataMissing, ConfigError, UnsafeCodeError."""
    return [load_one(name, options) for name in expand(names)]


def load_one(name: str, options: TaskOptions) -> CellTask:
    known = catalog.find(name)
    if _is_file(name):
        loaded = _from_yaml(Path(name))
    elif name in _builtin():
        loaded = _from_package(name)
    elif known and name in _known_index():
        loaded = _from_catalog(name, known, options)
    elif options.data_dir:
        raise DataMissing(
            f"Task {name!r} has no place in a data folder (those that have: {', '.join(catalog.KNOWN)}): "
            "leave out --data-dir to fetch it from the hub, or give a task YAML that names its files."
        )
    else:
        loaded = _from_hub(name)
    for task in loaded.tasks.values():
        if task.config.unsafe_code and not isinstance(task.config.process_results, programs.ProgramScorer):
            raise UnsafeCodeError(
                f"Task {name!r} would run generated code unconfined, which is refused: humaneval is run confined."
            )
        _set_fewshot(task, options.num_fewshot)
    if options.generate_choices:
        loaded = _generated(loaded)
    return loaded


def _set_fewshot(task: Task, wanted: int | None) -> None:
    """As lm-eval does: a task that says 0 keeps 0."""
    own = task.config.num_fewshot
    task.set_config(key="num_fewshot", value=_shots(own, wanted))


def _shots(own: int | None, wanted: int | None) -> int:
    return wanted if wanted is not None and own != 0 else own or 0


def _single(label: str, task: Task, source: str, notes: tuple[str, ...] = (), tiny: str | None = None) -> CellTask:
    return CellTask(label, {task.task_name: task}, {}, source, notes, tiny)


def _generated(loaded: CellTask) -> CellTask:
    made = {name: choice.as_generation(task) for name, task in loaded.tasks.items()}
    if all(made[name] is task for name, task in loaded.tasks.items()):
        return loaded
    for name, task in made.items():
        task.set_config(key="num_fewshot", value=loaded.tasks[name].config.num_fewshot)
    groups = {name: _with_tasks(group, made) for name, group in loaded.groups.items()}
    label = loaded.label + choice.SUFFIX
    if loaded.label in groups:
        groups[loaded.label].name = label
        groups = {g.name: g for g in groups.values()}
    notes = (*loaded.notes, "multiple choice by generation: the letter is read from what is written")
    return CellTask(label, made, groups, loaded.source, notes)


def _with_tasks(group: Group, tasks: Mapping[str, Task]) -> Group:
    """The same group over other tasks of the same names."""
    for child in list(group):
        if isinstance(child, Group):
            _with_tasks(child, tasks)
        else:
            group.add(tasks[child.task_name])
    return group


def _from_package(name: str) -> CellTask:
    stock = _builtin()[name]
    files: dict[str, str] = stock["dataset_kwargs"]["data_files"]
    documents = {split: catalog.read_jsonl(Path(file), ()) for split, file in files.items()}
    return _single(name, _leaf(stock, {"custom_dataset": _dataset(documents), "dataset_kwargs": None}), "built in")


def _from_yaml(path: Path) -> CellTask:
    if not path.is_file():
        raise ConfigError(f"There is no task file {path}: check the path.")
    of_stock_tasks = re.search(r"^group\s*:", path.read_text(encoding="utf-8"), re.MULTILINE)
    manager = _whole_index() if of_stock_tasks else TaskManager(include_defaults=False)
    try:
        with _readable_errors(str(path)):
            found = manager.load([str(path)])
    except (KeyError, ValueError, TypeError, AttributeError, ImportError, yaml.YAMLError) as e:
        reason = " ".join(str(e).split())
        raise ConfigError(f"{path} is not a task that lm-eval can load ({reason}): correct it.") from None
    label = next(iter(found["groups"] or found["tasks"]))
    return CellTask(label, found["tasks"], found["groups"], str(path))


def _from_hub(name: str) -> CellTask:
    entry = _entry(name)
    if (entry.cfg or {}).get("unsafe_code"):
        raise UnsafeCodeError(f"Task {name!r} would run generated code unconfined, which is refused: humaneval is run confined.")
    with _readable_errors(name):
        found = _whole_index().load([name])
    return CellTask(name, found["tasks"], found["groups"], "hub")


@contextmanager
def _readable_errors(name: str) -> Iterator[None]:
    """Turns the many ways in which a data set can fail to load into one DataMissing."""
    from datasets.exceptions import DatasetsError

    try:
        yield
    except (OSError, DatasetsError) as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise DataMissing(
            f"The data of task {name!r} cannot be had ({reason}): check the connection and the name, or give --data-dir."
        ) from None


def _from_catalog(name: str, known: catalog.Known, options: TaskOptions) -> CellTask:
    source = str(options.data_dir) if options.data_dir else "hub"
    notes: list[str] = []

    def leaf(entry: Any) -> Task:
        with _readable_errors(entry.name):
            overrides, told = _local(entry.cfg, known, options) if options.data_dir else ({}, [])
            notes.extend(n for n in told if n not in notes)
            return _leaf(entry.cfg, overrides)

    entry = _known_index()[name]
    if entry.kind.name != "GROUP":
        return _single(name, leaf(entry), source, tuple(notes), known.tiny)
    group = _group(entry, leaf)
    groups = {group.name: group, **{g.name: g for g in group.get_all_groups()}}
    return CellTask(name, {t.task_name: t for t in group.get_all_tasks()}, groups, source, tuple(notes))


def _group(entry: Any, leaf: Callable[[Any], Task]) -> Group:
    """lm-eval's group with children of our making. Its members are groups, tags (a set of tasks) or tasks."""
    names = set(GroupConfig.__dataclass_fields__)
    group = Group.from_config(GroupConfig(**{k: v for k, v in entry.cfg.items() if k in names}))
    index = _known_index()
    for name in entry.cfg["task"]:
        child = index[name]
        match child.kind.name:
            case "GROUP":
                group.add(_group(child, leaf))
            case "TAG":
                for member in sorted(child.tags):
                    group.add(leaf(index[member]))
            case _:
                group.add(leaf(child))
    return group


def _leaf(stock: dict[str, Any], overrides: dict[str, Any]) -> ConfigurableTask:
    """A task from lm-eval's YAML. Functions named there are looked up, save the two that would import or fetch code."""
    config: dict[str, Any] = {k: v for k, v in stock.items() if k not in ("tag", "group", "task_list")}
    if config.get("unsafe_code") or (config.get("metadata") or {}).get("scorer") == "python":
        config = programs.as_programs(config)
    if "tinyBenchmarks" in str(config.get("dataset_path")):
        # the estimator is applied afterwards, beside the mean, where its package and all 100 items are at hand
        config["metric_list"] = [{**m, "aggregation": "mean"} for m in config["metric_list"]]
        if config.get("fewshot_split") == "dev":  # tinyMMLU carries its examples in the prompt; its dev split is not read
            config["fewshot_split"] = None
    return ConfigurableTask(config={**_resolve(config), **overrides})


def _resolve(value: Any) -> Any:
    """Names of functions, which the index gives as `<path without .py>.<function>`, become those functions."""
    if isinstance(value, dict):
        return {k: _resolve(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_resolve(v) for v in value]
    if isinstance(value, str) and value.startswith(str(_STOCK)):
        file, _, function = value.rpartition(".")
        spec = importlib.util.spec_from_file_location(f"lm_eval_task_{Path(file).stem}", f"{file}.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return getattr(module, function)
    return value


def _local(stock: Mapping[str, Any], known: catalog.Known, options: TaskOptions) -> tuple[dict[str, Any], list[str]]:
    """Where a task's splits come from in a data folder: what to change in its YAML, and what to tell the reader.

    The evaluated split has to be there, or the validation split in place of a test split that is not. A split that only serves
    few-shot examples has to be there if there are any.
    """
    assert options.data_dir
    root, notes = options.data_dir, []
    overrides: dict[str, Any] = {"dataset_path": "json", "dataset_name": None, "dataset_kwargs": None}
    evaluated = stock.get("test_split") or stock["validation_split"]
    if evaluated == "test" and not _has(root, known, "test") and _has(root, known, "validation"):
        notes.append(f"scored on the validation documents: there is no {known.files['test']}")
        overrides |= {"test_split": None, "validation_split": "validation"}
        evaluated = "validation"
    elif evaluated == "test":
        overrides["validation_split"] = None
    shots_from = stock.get("fewshot_split") or stock.get("training_split")
    splits = [evaluated]
    if (
        shots_from
        and shots_from in known.files
        and (_has(root, known, shots_from) or _shots(stock.get("num_fewshot"), options.num_fewshot))
    ):
        splits.append(shots_from)
    else:
        overrides |= {"training_split": None, "fewshot_split": None}
    documents = {split: _of_task(stock, catalog.read_split(root, known, split)) for split in splits}
    overrides["custom_dataset"] = _dataset(documents)
    return overrides, notes


def _has(root: Path, known: catalog.Known, split: str) -> bool:
    return split in known.files and (root / known.files[split]).is_file()


def _of_task(stock: Mapping[str, Any], documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All of them, or for one of MMLU's subjects those of the subject."""
    name = str(stock["task"])
    if not name.startswith("mmlu_"):
        return documents
    chosen = [d for d in documents if d["subject"] == stock["dataset_name"]]
    if not chosen:
        raise DataMissing(
            f"The data folder holds no documents of MMLU's subject {stock['dataset_name']!r}: add them to its files."
        )
    return chosen


def _dataset(documents: Mapping[str, list[dict[str, Any]]]) -> Callable[..., Any]:
    """What lm-eval calls to get its data: in memory, so that no cache is written and none is stale. A function, because
    lm-eval deep-copies its configuration, and functions are not copied."""
    from datasets import Dataset

    splits = {split: Dataset.from_list(rows) for split, rows in documents.items()}
    return lambda **_: splits
