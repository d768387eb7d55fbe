"""Features, labels, the tree and Co-LLM's layer: by hand, against direct computation, and in the limits."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from sklearn.tree import DecisionTreeClassifier

from cosd_eval.decoding import methods
from cosd_eval.decoding.learned import read_deferral, read_tree
from cosd_eval.decoding.loop import Loop, Options, Request
from cosd_eval.decoding.member import Member
from cosd_eval.decoding.methods import CoLLM, Tree, View
from cosd_eval.errors import ConfigError
from cosd_eval.training import deferral, tree
from cosd_eval.training.examples import Example, Positions, Source, document_key, observe

SOURCE = Source("made up", 3, 0)


def positions(
    correct: list[list[bool]], gold: list[list[float]] | None = None, probability: list[list[float]] | None = None
) -> Positions:
    n, m = len(correct), len(correct[0])
    return Positions(
        torch.tensor(probability or [[0.5] * m] * n),
        torch.tensor(correct),
        torch.tensor(gold or [[-1.0] * m] * n),
        torch.randn(n, 4, generator=torch.Generator().manual_seed(0)),
        torch.arange(n) // 5,
    )


def test_labels_of_two_members_by_hand() -> None:
    """Draft right: 0, whatever the assistant says; only the assistant right: 1; neither: dropped."""
    kept, label = tree.labels(positions([[True, True], [True, False], [False, True], [False, False]]))
    assert kept.tolist() == [True, True, True, False]
    assert label[kept].tolist() == [0, 0, 1]


def test_labels_of_three_members_name_the_one_that_gives_gold_most() -> None:
    kept, label = tree.labels(
        positions(
            [[True, False, True], [False, True, False], [False, False, False]],
            gold=[[-0.5, -3.0, -0.1], [-2.0, -0.2, -1.0], [-1.0, -1.0, -0.1]],
        )
    )
    assert kept.tolist() == [True, True, False]
    assert label[kept].tolist() == [2, 1]


def test_features_are_those_of_a_plain_forward_pass() -> None:
    plain = tiny_models.models_like("llama", 2)
    members = [Member(m, tiny_models.tokenizer(), "m") for m in tiny_models.models_like("llama", 2)]
    examples = [Example("abc", "hello"), Example("xy", "wonderful"), Example("abc", "he")]
    seen = observe(members, examples, Options(batch_size=2))
    row = 0
    for number, example in enumerate(examples):
        ids = tiny_models.encode(example.prompt + example.output)
        with torch.no_grad():
            outs = [m(input_ids=torch.tensor([ids]), output_hidden_states=True) for m in plain]
        for at in range(len(example.prompt), len(ids)):
            chances = [o.logits[0, at - 1].softmax(-1) for o in outs]
            assert seen.example[row] == number
            assert seen.probability[row].tolist() == pytest.approx([float(c.max()) for c in chances], abs=1e-4)
            assert seen.correct[row].tolist() == [int(c.argmax()) == ids[at] for c in chances]
            assert seen.gold[row].tolist() == pytest.approx([math.log(c[ids[at]]) for c in chances], abs=1e-3)
            assert torch.allclose(seen.hidden[row], outs[0].hidden_states[-1][0, at - 1], atol=1e-4)
            row += 1
    assert row == len(seen.example)


def test_a_tree_recovers_a_boundary() -> None:
    rng = np.random.default_rng(0)
    chances = torch.tensor(rng.random((400, 2)), dtype=torch.float32)
    wins = (chances[:, 0] < 0.5) & (chances[:, 1] > 0.7)
    seen = positions([[not w, w] for w in wins.tolist()], probability=chances.tolist())
    nodes, counts = tree.fit(seen, seed=0)
    assert counts == {"positions": 400, "kept": 400, "dropped": 0, "label_0": int((~wins).sum()), "label_1": int(wins.sum())}
    clear = (chances[:, 0] - 0.5).abs().gt(0.02) & (chances[:, 1] - 0.7).abs().gt(0.02)
    assert (Tree(nodes).classify(chances)[clear].bool() == wins[clear]).all()


@pytest.mark.parametrize("members", [2, 3])
def test_our_trees_say_what_scikit_learn_says_and_gates_change_nothing(members: int) -> None:
    rng = np.random.default_rng(members)
    x = rng.random((300, members)).astype(np.float32)
    y = rng.integers(0, members, 300)
    model = DecisionTreeClassifier(random_state=0, max_depth=5).fit(x, y)
    method = Tree(tree.nodes_of(model), members)
    fresh = rng.random((5000, members)).astype(np.float32)
    assert (method.classify(torch.tensor(fresh)).numpy() == model.predict(fresh)).all()
    views = {m: View(torch.full((5000,), m), torch.tensor(fresh[:, m])) for m in range(members)}
    certain = method.certain(views[0])
    assert (method.choose(views).token[certain] == 0).all()


def test_a_gate_opens_where_every_reachable_leaf_says_draft() -> None:
    nodes = methods.TreeNodes((0, 1, -1, -1, -1), (0.5, 0.4, 0, 0, 0), (1, 3, 0, 0, 0), (2, 4, 0, 0, 0), (0, 0, 0, 0, 1))
    draft = View(torch.tensor([7, 7, 7]), torch.tensor([0.4, 0.5, 0.51]))
    assert Tree(nodes).certain(draft).tolist() == [False, False, True]
    never = methods.TreeNodes((-1,), (0.0,), (0,), (0,), (0,))
    assert Tree(never).certain(draft).all()


def test_splits_that_decide_nothing_are_left_out() -> None:
    x = np.array([[0.1, 0.1], [0.2, 0.9], [0.9, 0.1], [0.8, 0.8]] * 5, dtype=np.float32)
    model = DecisionTreeClassifier(random_state=0).fit(x, [0, 1, 0, 0] * 5)
    assert len(tree.nodes_of(model).feature) <= model.tree_.node_count
    flat = DecisionTreeClassifier(random_state=0).fit(x, [0] * 20)
    assert tree.nodes_of(flat) == methods.TreeNodes((-1,), (0.0,), (0,), (0,), (0,))


def test_a_tree_is_readable_json_and_comes_back_equal(tmp_path: Path) -> None:
    nodes = methods.TreeNodes((0, -1, -1), (0.25, 0, 0), (1, 0, 0), (2, 0, 0), (0, 1, 0))
    path = tmp_path / "deep" / "tree.json"
    tree.save(path, nodes, members=["a", "b"], pair={"name": "p"}, source=SOURCE, counts={"kept": 1}, seed=0, hyperparameters={})
    content = json.loads(path.read_text())
    assert content["text"][1] == "|   |-- b's token stands"
    assert read_tree(path, 2) == nodes
    with pytest.raises(ConfigError, match="2 members"):
        read_tree(path, 3)
    path.write_text("{}")
    with pytest.raises(ConfigError, match="no cosd-tree"):
        read_tree(path, 2)
    tree.picture(nodes, ["a", "b"], tmp_path / "tree.png")
    assert (tmp_path / "tree.png").stat().st_size > 1000


def test_bad_hyperparameters_and_empty_data_are_told() -> None:
    with pytest.raises(ConfigError, match="DecisionTreeClassifier"):
        tree.fit(positions([[True, False]] * 9), 0, {"max_depth": -3})
    with pytest.raises(ConfigError, match="nothing to learn"):
        tree.fit(positions([[False, False]] * 9), 0)


def test_the_deferral_loss_is_the_marginal_likelihood() -> None:
    d = torch.tensor([-2.0, 0.0, 3.0], dtype=torch.double)
    p, q = torch.tensor([0.7, 0.1, 0.2]).double(), torch.tensor([0.1, 0.6, 0.2]).double()
    s = 1 / (1 + torch.exp(-d))
    direct = -((1 - s) * p + s * q).log().mean()
    assert float(deferral.loss(d, torch.stack([p, q], -1).log())) == pytest.approx(float(direct), abs=1e-12)


def made_up_deferral(n: int = 600) -> Positions:
    """The first axis of the hidden state says whether only the assistant is right; another axis is huge and says nothing."""
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(n, 6, generator=generator)
    hidden[:, 3] *= 1000
    wrong = hidden[:, 0] > 0.3
    gold = torch.where(wrong[:, None], torch.tensor([-4.0, -0.2]), torch.tensor([-0.2, -4.0]))
    correct = torch.stack([~wrong, wrong], -1)
    return Positions(torch.full((n, 2), 0.5), correct, gold, hidden, torch.arange(n) // 20)


def test_deferral_learns_where_only_the_assistant_is_right() -> None:
    layer, told = deferral.fit(made_up_deferral(), seed=0)
    assert told["loss_final"] < told["loss_initial"]
    assert told["validation_accuracy"] > 0.95 > max(told["validation_accuracy_draft"], told["validation_accuracy_assistant"])
    seen = made_up_deferral()
    assert ((layer.probability(seen.hidden) > layer.eta) == seen.correct[:, 1]).double().mean() > 0.95


def test_validation_examples_are_whole_and_not_trained_on() -> None:
    example = torch.arange(50) // 10
    aside = deferral._validation(example, 0)
    assert {len(set(aside[example == e].tolist())) for e in range(5)} == {1}
    assert 0 < int(aside.sum()) < 50


def test_deferral_needs_something_to_learn() -> None:
    with pytest.raises(ConfigError, match="only the assistant is right"):
        deferral.fit(positions([[True, True]] * 20), 0)
    with pytest.raises(ConfigError, match="two members"):
        deferral.fit(positions([[True, True, False]] * 20), 0)


def collaborate(members: list[Member], method: methods.Method, **options: Any) -> list[list[int]]:
    requests = [Request(t, 20) for t in tiny_models.prompts(4, seed=2)]
    return [d.token_ids for d in Loop(members, method, Options(**options), tiny_models.encode).run(requests)]


def test_co_llm_in_its_limits_and_against_the_plain_rule(tmp_path: Path) -> None:
    plain = tiny_models.models_like("llama", 2)
    members = [Member(m, tiny_models.tokenizer(), "m") for m in tiny_models.models_like("llama", 2)]
    weight = torch.randn(32, generator=torch.Generator().manual_seed(3))
    layer = deferral.Deferral(weight, 0.1, 0.5)
    deferral.save(tmp_path / "layer", layer, members=["a", "b"], pair={}, source=SOURCE, told={}, seed=0)
    weight, bias, eta = read_deferral(tmp_path / "layer")
    assert (bias, eta) == (pytest.approx(0.1), 0.5)
    assert collaborate(members, CoLLM(weight, bias, 1.0)) == collaborate(members, methods.Alone(0))
    assert collaborate(members, CoLLM(weight, bias, -1.0)) == collaborate(members, methods.Alone(1))
    written = collaborate(members, CoLLM(weight, bias, eta))
    for schedule in ({"batch_size": 1, "draft_length": 3}, {"gate": False}, {"batch_size": 2, "draft_length": "full"}):
        assert collaborate(members, CoLLM(weight, bias, eta), **schedule) == written
    expected = []
    for prompt in tiny_models.prompts(4, seed=2):
        ids: list[int] = []
        while len(ids) < 20 and (not ids or ids[-1] != 0):
            context = torch.tensor([tiny_models.encode(prompt) + ids])
            with torch.no_grad():
                a, b = plain[0](input_ids=context, output_hidden_states=True), plain[1](input_ids=context)
            defer = torch.sigmoid(a.hidden_states[-1][0, -1].double() @ weight.double() + bias) > eta
            ids.append(int((b if defer else a).logits[0, -1].argmax()))
        expected.append(ids)
    assert written == expected
    assert written not in (collaborate(members, methods.Alone(0)), collaborate(members, methods.Alone(1)))


def test_document_keys_ignore_white_space() -> None:
    assert document_key("a  b\n") == document_key("a b") != document_key("a c")
