"""Co-LLM (Shen et al. 2024): one linear layer on the draft's last hidden state says where to defer to the assistant."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from cosd_eval.decoding.pair import require_two
from cosd_eval.errors import ConfigError
from cosd_eval.training.examples import Positions, Source

POSITIVE_WEIGHT = 8.0  # of "assistant right, draft wrong" in the initial logistic regression
VALIDATION = 0.2  # share of the examples that choose the threshold and are not trained on
DECAY = 1e-3  # pull of the (standardised) weights to zero, since positions are few against the width


@dataclass(frozen=True)
class Deferral:
    """d = weight · h + bias; the assistant writes where σ(d) > eta. weight [width], float32."""

    weight: Tensor
    bias: float
    eta: float

    def probability(self, hidden: Tensor) -> Tensor:
        """σ(d) [n] of hidden states [n, width]."""
        return torch.sigmoid(hidden.double() @ self.weight.double() + self.bias)


def loss(d: Tensor, gold: Tensor) -> Tensor:
    """Mean of −log[σ(−d)·p(gold) + σ(d)·q(gold)] over positions; d [n], gold [n, 2] log-probabilities. All in log space."""
    return -torch.logsumexp(torch.stack([F.logsigmoid(-d) + gold[:, 0], F.logsigmoid(d) + gold[:, 1]]), 0).mean()


def accuracy(deferral: Tensor, eta: float, correct: Tensor) -> float:
    """Share of positions whose gold token is written: deferral [n] = σ(d), correct [n, 2]."""
    return float(torch.where(deferral > eta, correct[:, 1], correct[:, 0]).double().mean())


def thresholds(deferral: Tensor) -> Tensor:
    """Candidates for η: 101 quantiles of σ(d), and 1 (the draft alone); one below all of them is the assistant alone."""
    quantiles = torch.quantile(deferral.double(), torch.linspace(0, 1, 101, dtype=torch.double))
    return torch.cat([quantiles.new_tensor([max(0.0, float(quantiles[0]) - 1e-6)]), quantiles, quantiles.new_ones(1)])


def fit(positions: Positions, seed: int) -> tuple[Deferral, dict[str, Any]]:
    """Initialise by logistic regression, minimise the marginal likelihood's loss, choose η on validation examples.

    Also what happened: counts, losses, validation accuracies. Raises ConfigError where there is too little to learn from.
    """
    require_two(positions.correct.shape[1])
    held_out = _validation(positions.example, seed)
    train, check = ~held_out, held_out
    wanted = positions.correct[:, 1] & ~positions.correct[:, 0]
    if not (wanted[train].any() and (~wanted[train]).any() and check.any()):
        raise ConfigError(
            "The training data shows no position where only the assistant is right, or is too little: give more --samples."
        )
    hidden, mean, scale = _standardise(positions.hidden.double(), train)
    start = LogisticRegression(class_weight={0: 1.0, 1: POSITIVE_WEIGHT}, max_iter=500).fit(
        hidden[train].numpy(), wanted[train].numpy()
    )
    parameters = torch.tensor([*start.coef_[0], start.intercept_[0]], dtype=torch.double)
    before = float(loss(hidden[train] @ parameters[:-1] + parameters[-1], positions.gold[train].double()))
    parameters = _minimise(parameters, hidden[train], positions.gold[train].double())
    weight = parameters[:-1] / scale
    layer = Deferral(weight.float(), float(parameters[-1] - (weight * mean).sum()), 0.5)
    after = float(loss(hidden[train] @ parameters[:-1] + parameters[-1], positions.gold[train].double()))
    probability = layer.probability(positions.hidden)[check]
    best = max((accuracy(probability, float(t), positions.correct[check]), float(t)) for t in thresholds(probability))
    told = {
        "positions": len(wanted),
        "train": int(train.sum()),
        "validation": int(check.sum()),
        "only_assistant_right": int(wanted.sum()),
        "loss_initial": before,
        "loss_final": after,
        "validation_accuracy": best[0],
        "validation_accuracy_draft": accuracy(probability, 1.0, positions.correct[check]),
        "validation_accuracy_assistant": accuracy(probability, -1.0, positions.correct[check]),
        "validation_deferred": float((probability > best[1]).double().mean()),
    }
    return Deferral(layer.weight, layer.bias, best[1]), told


def _validation(example: Tensor, seed: int) -> Tensor:
    """[n] bool: positions of the examples that are kept aside."""
    examples = example.unique()
    shuffled = examples[torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed))]
    aside = shuffled[: max(1, round(VALIDATION * len(examples)))]
    return torch.isin(example, aside)


def _standardise(hidden: Tensor, train: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states with mean 0 and deviation 1 over the training positions; some of their axes are a thousand times longer."""
    mean, scale = hidden[train].mean(0), hidden[train].std(0).clamp(min=1e-6)
    return (hidden - mean) / scale, mean, scale


def _minimise(parameters: Tensor, hidden: Tensor, gold: Tensor) -> Tensor:
    parameters = parameters.clone().requires_grad_(True)
    optimiser = torch.optim.LBFGS([parameters], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss(hidden @ parameters[:-1] + parameters[-1], gold) + DECAY * parameters[:-1].square().sum()
        value.backward()
        return value

    optimiser.step(closure)
    return parameters.detach()


def save(
    folder: Path,
    layer: Deferral,
    *,
    members: Sequence[str],
    pair: Mapping[str, Any],
    source: Source,
    told: Mapping[str, Any],
    seed: int,
) -> None:
    """deferral.safetensors (weight, bias) and deferral.json (η and where it comes from)."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file({"weight": layer.weight.contiguous(), "bias": torch.tensor(layer.bias)}, folder / "deferral.safetensors")
    content = {
        "kind": "co-llm",
        "format": 1,
        "names": list(members),
        "eta": layer.eta,
        "training": dict(told),
        "pair": dict(pair),
        "source": asdict(source),
        "seed": seed,
    }
    (folder / "deferral.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
