"""The built-in models and tasks: small, made here, with the paper's scenarios in them by construction. No torch on import."""

from pathlib import Path
from typing import Any

import yaml

_HERE = Path(__file__).parent
_PREFIX = "organisms/"


def builtin_models() -> dict[str, Path]:
    """The built-in models' folders by the name a pair's YAML gives them: `organisms/arithmetician`."""
    return {_PREFIX + path.parent.name: path.parent for path in sorted(_HERE.glob("models/*/config.json"))}


def builtin_tasks() -> dict[str, dict[str, Any]]:
    """Built-in tasks: name -> lm-eval's task config, `include`s resolved, data files with absolute paths."""
    files = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(_HERE.glob("tasks/*.yaml"))}
    return {config["task"]: _resolved(config, files) for config in files.values()}


def _resolved(config: dict[str, Any], files: dict[str, dict[str, Any]]) -> dict[str, Any]:
    whole = dict(config)
    while "include" in whole:
        base = files[whole.pop("include")]
        whole = {**base, **whole}
        if "include" in base:
            whole["include"] = base["include"]
    data_files = {split: str(_HERE / name) for split, name in whole["dataset_kwargs"]["data_files"].items()}
    return {**whole, "dataset_kwargs": {**whole["dataset_kwargs"], "data_files": data_files}}
