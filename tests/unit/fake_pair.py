"""A pair without models: answers are functions of prompt and method, so that tests of the evaluation path need no weights."""

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from cosd_eval.config import MemberSpec, MethodSpec, PairSpec, method_label
from cosd_eval.decoding.loop import Options, Request
from cosd_eval.decoding.scoring import ScoreRequest
from cosd_eval.records import Counters, Decoded, Provenance, Scored


def byte_tokenizer(**special: Any) -> PreTrainedTokenizerFast:
    """One token a byte, and an end token."""
    vocabulary = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocabulary["<end>"] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", **special)


class FakePair:
    """Finishes rows in reverse order, as an engine may. stop_after: raise KeyboardInterrupt after so many rows (a kill)."""

    def __init__(self, name: str = "fake", stop_after: int | None = None, max_length: int = 4096, **special: Any) -> None:
        member = MemberSpec(model="nowhere/Small")
        self.spec = PairSpec(name=name, scenario="test", draft=member, assistants=(MemberSpec(model="nowhere/Large"),))
        self.tokenizer, self.max_length, self.shared, self.stop_after = byte_tokenizer(**special), max_length, True, stop_after
        self.generated: list[tuple[Request, str]] = []
        self.passes: list[tuple[int, tuple[str, ...]]] = []
        self.revision = "1"

    @classmethod
    def load(
        cls, spec: PairSpec, *, model_dir: Path | None = None, dtype: str | None = None, device: str | None = None
    ) -> "FakePair":
        return cls(spec.name)

    def identity(self) -> dict[str, Any]:
        return {"members": ["Small", "Large"], "revision": self.revision}

    def method(self, spec: MethodSpec) -> None:
        """Every method fits."""

    def memory(self) -> list[dict[str, Any]]:
        return [{"member": name, "device": "cpu"} for name in ("Small", "Large")]

    def text(self, prompt: str, method: MethodSpec) -> str:
        number = zlib.crc32(f"{method_label(method)} {prompt}".encode()) % 10
        return f" so it is {number}.\n#### {number}\n\nQuestion: and then"

    def generate(
        self, requests: Sequence[Request], method: MethodSpec, options: Options = Options(),
        on_finish: Callable[[int, Decoded], None] | None = None,
    ) -> list[Decoded]:  # fmt: skip
        results = {}
        for index in reversed(range(len(requests))):
            if self.stop_after is not None and len(self.generated) >= self.stop_after:
                raise KeyboardInterrupt
            request = requests[index]
            assert isinstance(request.prompt, tuple)
            self.generated.append((request, method_label(method)))
            ids = self.tokenizer.encode(self.text(self.tokenizer.decode(request.prompt), method))[: request.max_new_tokens]
            counters = Counters(len(request.prompt), len(ids), rounds=3, draft_tokens=len(ids), asked=2, accepted=1, replaced=1)
            provenance = Provenance(ids, [self.tokenizer.decode([i]) for i in ids], [0] * len(ids))
            results[index] = Decoded(self.tokenizer.decode(ids), ids, "length", provenance, counters)
            if on_finish:
                on_finish(index, results[index])
        return [results[i] for i in range(len(requests))]

    def score(
        self, requests: Sequence[ScoreRequest], methods: Sequence[MethodSpec], options: Options = Options(),
        on_finish: Callable[[int, list[Scored]], None] | None = None,
    ) -> list[list[Scored]]:  # fmt: skip
        self.passes.append((len(requests), tuple(method_label(m) for m in methods)))
        results = {}
        for index in reversed(range(len(requests))):
            results[index] = [self._scored(requests[index], m) for m in methods]
            if on_finish:
                on_finish(index, results[index])
        return [results[i] for i in range(len(requests))]

    def _scored(self, request: ScoreRequest, method: MethodSpec) -> Scored:
        assert request.context and len(request.context) + len(request.continuation) <= self.max_length + 1
        each = [
            -(zlib.crc32(f"{method_label(method)} {request.context} {request.continuation[:i]}".encode()) % 997) / 100
            for i in range(1, len(request.continuation) + 1)
        ]
        return Scored(sum(each), False, each, [0] * len(each), [[x, x] for x in each], seconds=0.01)
