"""Training around a run: where examples come from, defaults kept beside the results, leakage told or refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_models

from cosd_eval.config import CoLLMMethod, MemberSpec, PairSpec, RuleMethod, TreeMethod
from cosd_eval.decoding.loop import Options
from cosd_eval.decoding.member import Member
from cosd_eval.decoding.pair import Pair
from cosd_eval.errors import ConfigError, DataMissing
from cosd_eval.evaluation import documents, learn

WORDS = tiny_models.prompts(24, seed=21)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "made.jsonl"
    lines = [json.dumps({"instruction": f"q{i}", "output": word}) for i, word in enumerate(WORDS)]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def pair(data: Path) -> Pair:
    spec = PairSpec(
        name="tiny",
        scenario="test",
        draft=MemberSpec(model="a"),
        assistants=(MemberSpec(model="b"),),
        training_data=str(data),
        training_samples=20,
    )
    members = [Member(m, tiny_models.tokenizer(), n) for m, n in zip(tiny_models.models_like("llama", 2), "ab", strict=True)]
    return Pair(spec, members, [{"model": "a"}, {"model": "b"}])


def test_examples_of_a_file_are_drawn_by_the_seed(data: Path) -> None:
    first, source = documents.examples(str(data), 5, 0, None)
    again, _ = documents.examples(str(data), 5, 0, None)
    other, _ = documents.examples(str(data), 5, 1, None)
    assert first == again != other
    assert (source.samples, source.tasks, source.keys) == (5, (), tuple(e.key for e in first))
    assert first[0].prompt.startswith("Question: q") and first[0].output[0] == " "


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("tinyGSM8k", "gsm8k"),
        ("gsm8k", "gsm8k"),
        ("mmlu_anatomy", "mmlu"),
        ("tinyMMLU:generate", "mmlu"),
        ("builtin_arith", "builtin"),
    ],
)
def test_family(task: str, expected: str) -> None:
    assert documents.family(task) == expected


def test_missing_data_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="instruction and output"):
        documents.examples(str(tmp_path / "no.jsonl"), 3, 0, None)
    with pytest.raises(DataMissing, match=r"alpaca_eval.eval\.jsonl"):
        documents.examples("alpaca_eval", 3, 0, tmp_path)


def test_builtin_examples_are_told_truly_and_are_ours() -> None:
    found, source = documents.examples("builtin", 10, 0, None)
    assert len(found) == 10 and source.tasks == ("builtin",)
    assert all(e.prompt and e.output for e in found)


def test_defaults_are_trained_once_and_kept(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = learn.resolved(pair, TreeMethod(), tmp_path, None, Options())
    layer = learn.resolved(pair, CoLLMMethod(eta=0.25), tmp_path, None, Options())
    assert isinstance(tree, TreeMethod) and Path(str(tree.tree)) == tmp_path / "tiny" / "learned" / "cosd-tree.json"
    assert isinstance(layer, CoLLMMethod) and layer.eta == 0.25
    assert learn.read(Path(str(tree.tree)))["source"]["samples"] == 20
    monkeypatch.setattr(learn, "train_tree", lambda *_: pytest.fail("trained twice"))
    assert learn.resolved(pair, TreeMethod(), tmp_path, None, Options()) == tree
    assert learn.resolved(pair, RuleMethod(), tmp_path, None, Options()) == RuleMethod()
    for method in (tree, layer):
        decoded = pair.decode(["abc", "xyz"], method=method, max_new_tokens=8)
        assert all(0 < len(d.token_ids) <= 8 for d in decoded)


class FakeTask:
    def __init__(self, questions: list[str]) -> None:
        self.eval_docs = [{"question": q} for q in questions]

    def doc_to_text(self, doc: dict[str, Any]) -> str:
        return f"Question: {doc['question']}\nAnswer:"


def learned_tree(pair: Pair, folder: Path, tasks: tuple[str, ...]) -> TreeMethod:
    made = learn.resolved(pair, TreeMethod(), folder, None, Options())
    assert isinstance(made, TreeMethod) and made.tree
    content = json.loads(Path(made.tree).read_text())
    content["source"]["tasks"] = list(tasks)
    Path(made.tree).write_text(json.dumps(content))
    return made


def test_in_domain_training_is_marked_and_leakage_refused(pair: Pair, tmp_path: Path) -> None:
    method = learned_tree(pair, tmp_path, ("gsm8k",))
    fresh, seen = FakeTask(["never asked"]), FakeTask([f"q{i}" for i in range(24)])
    assert any("IN-DOMAIN" in note for note in learn.judge(method, "cosd-tree", {"tinyGSM8k": fresh}, False))
    assert not any("IN-DOMAIN" in note for note in learn.judge(method, "cosd-tree", {"mmlu": fresh}, False))
    with pytest.raises(ConfigError, match="trained on 20 of the documents"):
        learn.judge(method, "cosd-tree", {"mmlu": seen}, False)
    assert any("LEAKAGE" in note for note in learn.judge(method, "cosd-tree", {"mmlu": seen}, True))
    assert learn.judge(RuleMethod(), "cosd-rule", {"mmlu": seen}, False) == ()


def test_three_members_have_no_deferral(pair: Pair, tmp_path: Path) -> None:
    three = Pair(pair.spec, [*pair.members, pair.members[1]], [{}, {}, {}])
    with pytest.raises(ConfigError, match="pair of two"):
        learn.train_deferral(three, learn.Training("x.jsonl", 3), tmp_path / "layer")


def test_reading_what_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[1]")
    with pytest.raises(ConfigError, match="not written by"):
        learn.read(tmp_path / "x.json")
    with pytest.raises(ConfigError, match="cannot be read"):
        learn.read(tmp_path / "none.json")


def test_real_documents_become_prompt_and_answer(data_dir: Path) -> None:
    for name, start in (
        ("gsm8k:train", "Question: "),
        ("mmlu:validation", ""),
        ("humaneval", ""),
        ("hellaswag", ""),
        ("winogrande", ""),
    ):
        found, source = documents.examples(name, 3, 0, data_dir)
        assert len(found) == 3 and source.tasks == (name.partition(":")[0],)
        assert all(e.prompt.startswith(start) and e.output.strip() and e.key for e in found)
    same = documents.examples("mmlu:test", None, 0, data_dir)[1].keys
    assert len(same) == 570
