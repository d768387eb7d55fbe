"""The script that rebuilds the models: its batches, its loss, and that a seed settles the weights."""

import importlib.util
import os
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from cosd_eval.organisms import builtin_models
from cosd_eval.organisms.measure import reliability

SCRIPT = Path(__file__).parents[2] / "scripts" / "train_organisms.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_organisms", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(builtin_models()["organisms/novice"])


def test_there_is_a_recipe_for_every_shipped_model(script: ModuleType) -> None:
    assert {f"organisms/{name}" for name in script.RECIPES} == set(builtin_models())


def test_batches_weigh_answers_fully_prompts_little_and_padding_not_at_all(script: ModuleType, tokenizer: Any) -> None:
    recipe = replace(script.RECIPES["generalist"], choice=4.0)
    for ids, weights in islice(script.batches(recipe, tokenizer), 5):
        assert ids.shape == weights.shape and ids.numel() <= script.BATCH_TOKENS
        assert {round(w, 4) for w in weights.unique().tolist()} <= {0.0, script.PROMPT_WEIGHT, 1.0, 4.0}
        assert torch.equal(weights == 0, ids == tokenizer.pad_token_id)


def test_training_learns_and_a_seed_settles_the_weights(script: ModuleType, tokenizer: Any) -> None:
    recipe = replace(script.RECIPES["novice"], tokens=4 * script.BATCH_TOKENS, width=16, layers=1)
    models, curves = [], []
    for _ in range(2):
        torch.manual_seed(0)
        model = script.new_model(recipe, tokenizer)
        curves.append(script.train(recipe, model, tokenizer, "cpu"))
        models.append(model)
    assert curves[0][-1]["training"] < curves[0][0]["training"]
    assert curves[0] == curves[1]
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))


def test_reliability_against_hand_made_figures() -> None:
    # Two bins: at 0.25 one of two is right (off by 0.25), at 0.95 all four are (off by 0.05).
    found = reliability(torch.tensor([0.25, 0.25, 0.95, 0.95, 0.95, 0.95]), torch.tensor([True, False, True, True, True, True]))
    assert found.n == 6 and found.accuracy == pytest.approx(5 / 6, abs=1e-4)
    assert found.ece == pytest.approx((2 * 0.25 + 4 * 0.05) / 6, abs=1e-4)
    assert found.when_wrong == pytest.approx(0.25) and found.when_right == pytest.approx((0.25 + 4 * 0.95) / 5, abs=1e-4)
    assert found.bins[2][0] == 2 and found.bins[9][0] == 4
