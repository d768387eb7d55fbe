"""The built-in models: small, safetensors, offline, with tokenizers that give every text back."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from cosd_eval.config import list_pairs
from cosd_eval.organisms import builtin_models

MODELS = builtin_models()
NAMES = ["archivist", "arithmetician", "generalist", "librarian", "novice", "specialist"]
TEXTS = ["Question: Ada has 12 lamps.\nAnswer:", "def f(x):\n    return x * 2\n", "naïve — 漢字 🙂\t\r\n  end ", " #### 45", ""]


def test_the_models_are_there() -> None:
    assert sorted(MODELS) == [f"organisms/{name}" for name in NAMES]


def test_all_weights_together_stay_under_twelve_megabytes() -> None:
    assert sum(f.stat().st_size for folder in MODELS.values() for f in folder.glob("*.safetensors")) <= 12_000_000
    assert not [f for folder in MODELS.values() for f in folder.rglob("*") if f.suffix in {".bin", ".pt", ".pkl", ".py"}]


def test_every_member_of_a_built_in_pair_is_one_of_them() -> None:
    pairs = {pair.name: pair for pair in list_pairs() if pair.draft.model.startswith("organisms/")}
    assert {"complementary", "forgetting", "capacity", "builtin-trio", "different-tokenizers"} <= set(pairs)
    for pair in pairs.values():
        assert all(member.model in MODELS for member in pair.members)


@pytest.fixture(scope="module", params=NAMES)
def loaded(request: pytest.FixtureRequest) -> tuple[Path, Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = MODELS[f"organisms/{request.param}"]
    return folder, AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def test_it_is_an_ordinary_bfloat16_llama(loaded: tuple[Path, Any, Any]) -> None:
    _, model, tokenizer = loaded
    assert type(model).__name__ == "LlamaForCausalLM" and str(model.dtype) == "torch.bfloat16"
    assert model.config.vocab_size == len(tokenizer)
    assert model.generation_config.eos_token_id == model.config.eos_token_id == tokenizer.eos_token_id
    assert tokenizer.bos_token_id is None and model.config.max_position_embeddings == 512


def test_text_comes_back_from_tokens(loaded: tuple[Path, Any, Any]) -> None:
    tokenizer = loaded[2]
    for text in TEXTS:
        assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_a_prompts_tokens_begin_those_of_prompt_and_answer(loaded: tuple[Path, Any, Any]) -> None:
    from cosd_eval.organisms.mixtures import evaluation_items

    tokenizer = loaded[2]
    for skill in ("arith", "both", "choice", "code"):
        for item in evaluation_items(skill, 50):
            prompt, whole = tokenizer(item.prompt).input_ids, tokenizer(item.prompt + item.answer).input_ids
            assert whole[: len(prompt)] == prompt


def test_digits_are_single_tokens(loaded: tuple[Path, Any, Any]) -> None:
    assert len(loaded[2]("1234567890").input_ids) == 10


def test_all_but_the_archivist_share_a_vocabulary() -> None:
    vocabularies = {
        name: json.loads((MODELS[f"organisms/{name}"] / "tokenizer.json").read_text())["model"]["vocab"] for name in NAMES
    }
    shared = vocabularies["arithmetician"]
    assert all(vocabularies[name] == shared for name in NAMES if name != "archivist")
    assert vocabularies["archivist"] != shared


def test_the_card_gives_the_scores_that_were_measured(loaded: tuple[Path, Any, Any]) -> None:
    folder = loaded[0]
    facts = json.loads((folder / "training.json").read_text())
    card = (folder / "README.md").read_text()
    assert facts["parameters"] == loaded[1].num_parameters() and f"{facts['parameters']:,}" in card
    for skill in facts["scores"].values():
        assert f"{skill['score']:.3f}" in card
    assert (folder / "curve.svg").is_file()
