"""What `cosd-eval list tasks` says of each task. Reads lm-eval's YAML; loads no data set but counts a folder's lines."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosd_eval import organisms
from cosd_eval.errors import UserError
from cosd_eval.evaluation import catalog, programs, tasks


@dataclass(frozen=True)
class Listed:
    """items: that would be evaluated: of the folder where there is one, else of the published set. data: at hand or not."""

    name: str
    measures: str
    how: str
    items: int
    data: str


def list_tasks(data_dir: Path | None) -> list[Listed]:
    listed = []
    for name, known in catalog.KNOWN.items():
        config = tasks.stock_config(name)
        items, data = _in_folder(data_dir, known, config) if data_dir else (known.items, _cached(config))
        listed.append(Listed(name, known.measures, how(config), items, data))
    for name, config in organisms.builtin_tasks().items():
        split = config.get("test_split") or config["validation_split"]
        items = len(catalog.read_jsonl(Path(config["dataset_kwargs"]["data_files"][split]), ()))
        listed.append(Listed(name, "made here, for the built-in pairs", how(config), items, "built in"))
    return listed


def how(config: Mapping[str, Any]) -> str:
    """In a few words: `generation, 5-shot, exact_match`."""
    kind = {"generate_until": "generation", "multiple_choice": "log-likelihood of choices"}.get(
        config["output_type"], config["output_type"]
    )
    metrics = [m["metric"] for m in config.get("metric_list") or []]
    if config.get("unsafe_code"):
        metrics = [f"{programs.METRIC} (code is run, confined)"]
    return ", ".join((kind, f"{config.get('num_fewshot') or 0}-shot", "/".join(metrics)))


def _in_folder(folder: Path, known: catalog.Known, config: Mapping[str, Any]) -> tuple[int, str]:
    evaluated = config.get("test_split") or config["validation_split"]
    at_hand = {split for split, file in known.files.items() if (folder / file).is_file()}
    if evaluated == "test" and evaluated not in at_hand and "validation" in at_hand:
        evaluated = "validation"  # as when it is run
    needed = [evaluated]
    shots_from = config.get("fewshot_split") or config.get("training_split")
    if config.get("num_fewshot") and shots_from in known.files:
        needed.append(shots_from)
    missing = [known.files[split] for split in needed if split not in at_hand]
    if missing:
        return known.items, f"missing: {', '.join(missing)}"
    try:
        return len(catalog.read_split(folder, known, evaluated)), f"at hand: {known.files[evaluated]}"
    except UserError as e:
        return known.items, str(e)


def _cached(config: Mapping[str, Any]) -> str:
    from datasets import config as settings

    where = str(config["dataset_path"])
    cached = (Path(settings.HF_DATASETS_CACHE) / where.replace("/", "___").lower()).is_dir()
    return f"at hand (hub cache): {where}" if cached else f"from the hub: {where}"
