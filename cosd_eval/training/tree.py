"""CoSD-Tree (CoSD §3.2): a decision tree over the members' top probabilities, kept as readable JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor

from cosd_eval.decoding.methods import TreeNodes
from cosd_eval.errors import ConfigError
from cosd_eval.training.examples import Positions, Source

# The paper states none; shallow, so that three samples are not learned by heart, and the picture can be read.
HYPERPARAMETERS: dict[str, Any] = {"max_depth": 4, "min_samples_leaf": 5}


def labels(positions: Positions) -> tuple[Tensor, Tensor]:
    """(kept [n] bool, label [n]) of each position: the member whose token should stand; dropped where no first choice is gold.

    Two members: 0 if x̃ is gold; 1 if x̃ is not and x̂ is. More: the member that gives the gold token the highest probability.
    """
    kept = positions.correct.any(-1)
    if positions.correct.shape[1] == 2:
        return kept, (~positions.correct[:, 0]).long()
    return kept, positions.gold.argmax(-1)


def fit(
    positions: Positions, seed: int, hyperparameters: Mapping[str, Any] = HYPERPARAMETERS
) -> tuple[TreeNodes, dict[str, int]]:
    """The tree, and how many positions were kept, dropped, and of each label. Raises ConfigError if nothing is kept."""
    kept, label = labels(positions)
    if not kept.any():
        raise ConfigError(
            "No member's first choice is ever the reference token, so there is nothing to learn: choose other --data."
        )
    try:
        model = DecisionTreeClassifier(random_state=seed, **hyperparameters)
        model.fit(positions.probability[kept].numpy(), label[kept].numpy())
    except (TypeError, ValueError) as e:
        raise ConfigError(
            f"The tree's settings do not work ({str(e).splitlines()[0]}): see scikit-learn's DecisionTreeClassifier."
        ) from None
    counts = {"positions": len(kept), "kept": int(kept.sum()), "dropped": int((~kept).sum())}
    counts |= {f"label_{c}": int((label[kept] == c).sum()) for c in range(positions.correct.shape[1])}
    return nodes_of(model), counts


def nodes_of(model: DecisionTreeClassifier) -> TreeNodes:
    """scikit-learn's arrays as ours: leaves carry the class (a member's index) that most training positions had there."""
    inner = model.tree_
    leaf = [int(model.classes_[v.argmax()]) for v in inner.value[:, 0]]
    feature = [int(f) if left >= 0 else -1 for f, left in zip(inner.feature, inner.children_left, strict=True)]
    thresholds = [float(t) for t in inner.threshold]
    return _pruned(feature, thresholds, [int(i) for i in inner.children_left], [int(i) for i in inner.children_right], leaf)


def _pruned(
    feature: Sequence[int], threshold: Sequence[float], left: Sequence[int], right: Sequence[int], leaf: Sequence[int]
) -> TreeNodes:
    """The same function without splits that decide nothing: both sides say the same."""
    nodes: list[list[Any]] = []

    def verdicts(node: int) -> set[int]:
        return {leaf[node]} if feature[node] < 0 else verdicts(left[node]) | verdicts(right[node])

    def add(node: int) -> int:
        at = len(nodes)
        said = verdicts(node)
        if len(said) == 1:
            nodes.append([-1, 0.0, 0, 0, said.pop()])
            return at
        nodes.append([feature[node], threshold[node], 0, 0, 0])
        nodes[at][2], nodes[at][3] = add(left[node]), add(right[node])
        return at

    add(0)
    return TreeNodes(*(tuple(column) for column in zip(*nodes, strict=True)))


def save(
    path: Path,
    nodes: TreeNodes,
    *,
    members: Sequence[str],
    pair: Mapping[str, Any],
    source: Source,
    counts: Mapping[str, int],
    seed: int,
    hyperparameters: Mapping[str, Any],
) -> None:
    """Write the tree with all that is needed to know where it comes from."""
    content = {
        "kind": "cosd-tree",
        "format": 1,
        "members": len(members),
        "names": list(members),
        "nodes": asdict(nodes),
        "text": as_text(nodes, members).splitlines(),
        "counts": dict(counts),
        "pair": dict(pair),
        "source": asdict(source),
        "seed": seed,
        "hyperparameters": dict(hyperparameters),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def as_text(nodes: TreeNodes, members: Sequence[str], node: int = 0, depth: int = 0) -> str:
    """The tree in words, one condition a line."""
    indent = "|   " * depth
    if nodes.feature[node] < 0:
        return f"{indent}|-- {members[nodes.leaf[node]]}'s token stands\n"
    name, threshold = members[nodes.feature[node]], nodes.threshold[node]
    return (
        f"{indent}|-- top probability of {name} <= {threshold:.3f}\n{as_text(nodes, members, nodes.left[node], depth + 1)}"
        f"{indent}|-- top probability of {name} >  {threshold:.3f}\n{as_text(nodes, members, nodes.right[node], depth + 1)}"
    )


def picture(nodes: TreeNodes, members: Sequence[str], path: Path) -> None:
    """Which member's token stands over the (p_draft, p_assistant) square; only for trees of two members. Raises ConfigError."""
    if len(members) != 2:
        raise ConfigError("Only trees of two members can be drawn over a square: read the text instead.")
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from cosd_eval.decoding.methods import Tree

    axis = torch.linspace(0, 1, 401)
    p, q = torch.meshgrid(axis, axis, indexing="ij")
    stands = Tree(nodes).classify(torch.stack([p.flatten(), q.flatten()], -1)).view(401, 401)
    figure, axes = plt.subplots(figsize=(5, 4.5), layout="constrained")
    axes.contourf(axis, axis, stands.T, levels=[-0.5, 0.5, 1.5], colors=["#dbe9f6", "#f7c9a9"], hatches=[None, "//"])
    axes.set(xlabel=f"top probability of {members[0]} (draft)", ylabel=f"top probability of {members[1]} (assistant)")
    axes.set_title("hatched: the assistant's token stands", fontsize="medium")
    figure.savefig(path)
    plt.close(figure)
