"""Reading what training wrote: a decision tree (JSON) and Co-LLM's layer (safetensors and JSON)."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from cosd_eval.decoding.methods import TreeNodes
from cosd_eval.errors import ConfigError

KINDS = ("cosd-tree", "co-llm")


def read_json(path: Path, *kinds: str) -> dict[str, Any]:
    """Raises ConfigError unless the file holds one of these kinds as this project writes it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as e:
        raise ConfigError(f"{path} cannot be read ({e}): check the path, or train it anew.") from None
    if not isinstance(content, dict) or content.get("kind") not in kinds:
        raise ConfigError(f"{path} is no {' or '.join(kinds)}, or was not written by `cosd-eval train`: check the path.")
    return content


def read_tree(path: Path, members: int) -> TreeNodes:
    """A tree for that many members. Raises ConfigError."""
    content = read_json(path, "cosd-tree")
    if content["members"] != members:
        raise ConfigError(
            f"{path} was trained for {content['members']} members and this pair has {members}: train one for this pair."
        )
    nodes = content["nodes"]
    return TreeNodes(*(tuple(nodes[k]) for k in ("feature", "threshold", "left", "right", "leaf")))


def read_deferral(folder: Path) -> tuple[Tensor, float, float]:
    """Weight [width], bias, and the chosen η of a Co-LLM layer. Raises ConfigError."""
    from safetensors.torch import load_file

    content = read_json(folder / "deferral.json", "co-llm")
    try:
        tensors = load_file(folder / "deferral.safetensors")
    except (OSError, ValueError) as e:
        raise ConfigError(f"{folder / 'deferral.safetensors'} cannot be read ({e}): train it anew.") from None
    return tensors["weight"], float(tensors["bias"]), float(content["eta"])
