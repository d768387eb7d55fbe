"""Loading members from folders: dtype, adapters, names, and what is told when it cannot be done."""

from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM

from cosd_eval.config import MemberSpec, PairSpec
from cosd_eval.decoding.member import Member
from cosd_eval.decoding.pair import Pair, fingerprint, load_plain, locate
from cosd_eval.errors import ConfigError, ModelError, VocabularyMismatch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two model folders, `small` and `large`."""
    root = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("small", "large")):
        tiny_models.model("llama", seed).save_pretrained(root / name)
        tiny_models.tokenizer().save_pretrained(root / name)
    return root


def spec(**draft: Any) -> PairSpec:
    return PairSpec(
        name="t", scenario="t", draft=MemberSpec(**{"model": "Org/Small", **draft}), assistants=(MemberSpec(model="Org/Large"),)
    )


def test_a_model_dir_is_preferred_to_the_hub(folder: Path) -> None:
    pair = Pair.load(spec(), model_dir=folder, dtype="float32")
    assert pair.names == ["Small", "Large"]
    assert pair.shared and pair.max_length == 256
    (row,) = pair.decode(["abc"], method="cosd-rule:alpha=0.9", max_new_tokens=5)
    assert 0 < len(row.token_ids) <= 5
    assert pair.memory()[0]["dtype"] == "float32"


def test_the_identity_names_weights_and_dtype(folder: Path) -> None:
    one, other = (Pair.load(spec(), model_dir=folder, dtype=d).identity() for d in ("float32", "bfloat16"))
    assert one["members"][0]["revision"] == other["members"][0]["revision"] == fingerprint(folder / "small")
    assert one["members"][0]["revision"] != one["members"][1]["revision"]
    assert (one["members"][0]["dtype"], other["members"][0]["dtype"]) == ("float32", "bfloat16")


def test_a_peft_adapter_is_merged(folder: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    wrapped = peft.get_peft_model(
        tiny_models.model("llama", 0), peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    )
    wrapped.save_pretrained(tmp_path / "lora")
    ids = tiny_models.encode("helloWorld")
    with torch.no_grad():
        expected = wrapped(input_ids=torch.tensor([ids])).logits[0]
        plain = tiny_models.model("llama", 0)(input_ids=torch.tensor([ids])).logits[0]
    merged = load_plain(MemberSpec(model="Org/Small", adapter=str(tmp_path / "lora")), folder, "float32", None)
    with torch.no_grad():
        logits = merged(input_ids=torch.tensor([ids])).logits[0]
    assert torch.allclose(logits, expected, atol=1e-4) and not torch.allclose(logits, plain, atol=1e-2)
    pair = Pair.load(spec(adapter=str(tmp_path / "lora")), model_dir=folder, dtype="float32")
    assert pair.identity()["members"][0]["adapter"]["revision"]


def test_where_a_model_is(folder: Path) -> None:
    assert locate("Org/Small", folder) == str(folder / "small")
    assert locate("Org/Other", folder) == "Org/Other"
    assert locate(str(folder / "large"), None) == str(folder / "large")
    assert Path(locate("organisms/arithmetician", None)).is_dir()


def test_what_cannot_be_loaded_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Org/None cannot be loaded"):
        Pair.load(spec(model="Org/None"), model_dir=folder)
    with pytest.raises(ModelError, match="no model folder"):
        Pair.load(spec(), model_dir=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="float31"):
        Pair.load(spec(), model_dir=folder, dtype="float31")
    with pytest.raises(ConfigError, match="1 assistants"):
        Pair.load(spec(), model_dir=folder).decode(["abc"], method="assistant:index=2")
    with pytest.raises(ConfigError, match="2 numbers"):
        Pair.load(spec(), model_dir=folder).decode(["abc"], method="average:weights=1/2/3")


def test_unlike_vocabularies_are_told_and_members_alone_still_run(folder: Path, tmp_path: Path) -> None:
    model = tiny_models.model("llama", 3)
    model.save_pretrained(tmp_path / "large")
    other = tiny_models.tokenizer()
    other.add_tokens(["<new>"])
    other.save_pretrained(tmp_path / "large")
    (tmp_path / "small").symlink_to(folder / "small")
    pair = Pair.load(spec(), model_dir=tmp_path, dtype="float32")
    with pytest.raises(VocabularyMismatch, match="'<new>'"):
        pair.decode(["abc"], method="cosd-rule")
    assert len(pair.decode(["abc"], method="assistant", max_new_tokens=3)) == 1


def test_attention_that_we_lack_is_refused() -> None:
    config = Gemma2Config(**tiny_models.SIZES, head_dim=8, query_pre_attn_scalar=8, attn_logit_softcapping=5.0)
    with pytest.raises(ModelError, match="softcap"):
        Member(Gemma2ForCausalLM(config), tiny_models.tokenizer(), "gemma2")
