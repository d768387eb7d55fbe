"""Rows: a rewound cache, packed chunks and copied prefixes give the logits of a fresh forward pass."""

from typing import Any

import pytest
import tiny_models
import torch
from torch import Tensor

from cosd_eval.decoding import cache, packing, sharing
from cosd_eval.decoding import member as member_module
from cosd_eval.decoding.cache import Rows
from cosd_eval.decoding.member import Chunk, Member

IDS = tiny_models.encode("helloWorldThisIsALongerTextThatCrossesEveryWindow0123456789")


def fresh(model: Any, ids: list[int]) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    return logits


def same(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("architecture", tiny_models.ARCHITECTURES)
def test_rewound_rows_give_fresh_logits(architecture: str) -> None:
    plain, own = tiny_models.model(architecture, 1), Member(tiny_models.model(architecture, 1), tiny_models.tokenizer(), "m")
    own.open(3)
    expected = fresh(plain, IDS)
    junk = tiny_models.encode("zzzzzzzzzz")
    own.run([Chunk(0, IDS[:20]), Chunk(1, IDS[:7]), Chunk(2, IDS[:33])], share=False)
    own.run([Chunk(r, junk) for r in range(3)])
    for row, length in ((0, 20), (1, 7), (2, 33)):
        own.rows.rewind(row, length)
    out = own.run([Chunk(0, IDS[20:23], 3), Chunk(1, IDS[7:8], 1), Chunk(2, IDS[33:], len(IDS) - 33)]).logits
    assert same(out, torch.cat([expected[20:23], expected[7:8], expected[33:]]))


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
@pytest.mark.parametrize("room", [1, 5, 512])
def test_cutting_passes_changes_nothing(architecture: str, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member_module, "PASS_TOKENS", room)
    plain, own = tiny_models.model(architecture, 1), Member(tiny_models.model(architecture, 1), tiny_models.tokenizer(), "m")
    own.open(2)
    out = own.run([Chunk(1, IDS[:17], 17), Chunk(0, IDS[3:30], 4)]).logits
    assert same(out, torch.cat([fresh(plain, IDS[:17]), fresh(plain, IDS[3:30])[-4:]]))


def test_a_copied_prefix_gives_the_logits_of_a_computed_one() -> None:
    plain, own = tiny_models.model("llama", 1), Member(tiny_models.model("llama", 1), tiny_models.tokenizer(), "m")
    texts = [IDS[:40], [*IDS[:25], 5, 6, 7], [*IDS[:39], 9, 9], [1, 2, 3, *IDS[:30]]]
    own.open(4)
    output = own.run([Chunk(r, t, 2) for r, t in enumerate(texts)])
    assert same(output.logits, torch.cat([fresh(plain, t)[-2:] for t in texts]))
    assert output.tokens < sum(map(len, texts))
    for row in range(4):
        own.rows.restart(row)
    again = own.run([Chunk(r, t, 2) for r, t in enumerate(texts[::-1])])
    assert same(again.logits, torch.cat([fresh(plain, t)[-2:] for t in texts[::-1]]))


def test_hidden_states_are_those_before_the_head() -> None:
    plain, own = tiny_models.model("llama", 1), Member(tiny_models.model("llama", 1), tiny_models.tokenizer(), "m")
    with torch.no_grad():
        expected = plain.model(input_ids=torch.tensor([IDS])).last_hidden_state[0]
    own.open(1)
    assert same(own.run([Chunk(0, IDS, 5)]).hidden, expected[-5:])


def test_sharing_takes_the_longest_prefix_and_computes_it_first() -> None:
    rows = Rows(4)
    rows.history[3] = list(range(30))
    rows.lengths[3] = 30
    starts = sharing.plan(rows, {0: [*range(29), 99, 1], 1: [*range(100, 140), 1], 2: [*range(100, 140), 2]})
    assert (starts[0].source, starts[0].length, starts[0].stage) == (3, 29, 0)
    assert starts[1] == sharing.Start(1, 0, 0)
    assert starts[2] == sharing.Start(1, 40, 1)


def test_common_prefix() -> None:
    assert sharing.common_prefix([1, 2, 3], [1, 2, 4]) == 2
    assert sharing.common_prefix([1, 2, 3], [1, 2, 3]) == 3
    assert sharing.common_prefix([], [1]) == 0
    assert sharing.common_prefix([2], [1]) == 0


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "mistral"])
def test_packed_layers_give_the_same_logits_in_float32(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not packing.can_pack():
        pytest.skip("this build of PyTorch has no oneDNN")
    monkeypatch.setattr(packing, "SMALLEST", 0)
    plain = tiny_models.model(architecture, 1)
    own = Member(tiny_models.model(architecture, 1), tiny_models.tokenizer(), "m")
    kinds = [type(layer).__name__ for layer in own.model.modules()]
    assert kinds.count("PackedGatedBlock") == 2 and kinds.count("Linear") == 0
    own.open(1)
    assert same(own.run([Chunk(0, IDS, len(IDS))]).logits, fresh(plain, IDS))


def test_prompts_are_read_in_even_passes() -> None:
    whole = [member_module.Piece(0, 0, 1500), member_module.Piece(1, 0, 640)]
    passes = list(member_module._pieces(whole))
    sizes = [sum(p.stop - p.start for p in one) for one in passes]
    assert sizes == [1088, 1052], "two of about 1024, and no small rest"
    assert [(p.chunk, p.start, p.stop) for one in passes for p in one] == [(0, 0, 1088), (0, 1088, 1500), (1, 0, 640)]
    assert len({member_module.padded(n) for n in range(1, 1537)}) < 60, "few sizes serve all"


def test_rows_attend_together_where_padding_is_cheap() -> None:
    spans = [cache.Span(row, row, 1, base) for row, base in enumerate((100, 110, 1000, 1005, 20))]
    groups = cache._grouped(spans, cache.CALL["cpu"])
    assert [[s.row for s in g.spans] for g in groups] == [[0, 1], [2, 3], [4]]
    assert len(cache._grouped(spans, cache.CALL["cuda"])) == 1, "calls are what costs there"
    apart = [cache.Span(0, 0, 1, 100), cache.Span(2, 1, 1, 100)]
    assert len(cache._grouped(apart, cache.CALL["cuda"])) == 2, "only neighbours lie side by side in memory"


def test_rows_take_over_the_memory_of_rows_that_fit() -> None:
    own = Member(tiny_models.model("llama", 1), tiny_models.tokenizer(), "m")
    own.open(3, 100)
    own.run([Chunk(r, IDS[:50]) for r in range(3)])
    held = own.rows.keys[0]
    own.open(2, 60)
    out = own.run([Chunk(1, IDS[:40], 40)]).logits
    assert own.rows.keys[0] is held
    assert same(out, fresh(tiny_models.model("llama", 1), IDS[:40]))
    own.open(4, 60)
    own.run([Chunk(3, IDS[:40])])
    assert own.rows.keys[0] is not held, "too few rows"


def test_a_gated_block_gives_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Member(tiny_models.model("llama", 1), tiny_models.tokenizer(), "m")
    monkeypatch.setattr(packing, "SMALLEST", 1)
    monkeypatch.setattr(packing, "TOKENS", 7)
    parts = Member(tiny_models.model("llama", 1), tiny_models.tokenizer(), "m")
    assert any(isinstance(m, packing.PackedGatedBlock) for m in parts.model.modules()) == packing.can_pack()
    assert same(parts.run([Chunk(0, IDS[:40], 40)]).logits, whole.run([Chunk(0, IDS[:40], 40)]).logits)
