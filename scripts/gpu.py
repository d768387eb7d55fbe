"""Decoding speed at real sizes with random weights, on one GPU (or, to try the script, tiny on a CPU): no model is downloaded.

    python scripts/gpu.py                 # a 1.1B draft and a 7B assistant in bfloat16, built on the device
    python scripts/gpu.py --tiny          # seconds, anywhere

Needs torch and transformers alone. Random models never agree, so what stands is drawn from the positions of a recorded
trace (scripts/acceptance.json) by a hash of the draft's probability: certain, kept or replaced as often as there. For the
same reason transformers' assisted generation cannot be timed here; its plain generation and the naive way can.

Each row of the table: tokens/s, the time of its forward passes alone, and the memory-bandwidth floor, which is the time to
read every weight once a pass and every key and value once a pass, at the bandwidth that this device reached in a copy.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from cosd_eval.bench import floor, peers
from cosd_eval.decoding.loop import Loop, Options, Request
from cosd_eval.decoding.member import Member
from cosd_eval.decoding.methods import Alone, Average, Choice, Method, View, Views

SIZES: dict[str, dict[str, Any]] = {
    "1.1B": {"hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 32,
             "num_key_value_heads": 4, "vocab_size": 32000},  # as TinyLlama
    "7B": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
           "num_key_value_heads": 8, "vocab_size": 32000},  # as Mistral 7B
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "vocab_size": 500},
}  # fmt: skip
ACCEPTANCE = Path(__file__).parent / "acceptance.json"


class Letters:
    """A tokenizer of nothing: every token is one letter, and no text ends."""

    eos_token_id = None

    def encode(self, text: str, **_: Any) -> list[int]:
        return [ord(c) % 100 + 1 for c in text]

    def decode(self, ids: list[int], **_: Any) -> str:
        return "x" * len(ids)


class Replayed(Method):
    """A method whose decisions are a trace's: '.' certain, 'k' asked and kept, 'r' asked and replaced."""

    asks = (1,)

    def __init__(self, trace: str, *, gated: bool) -> None:
        self.trace = torch.tensor([".kr".index(c) for c in trace])
        self.ignores_draft = not gated

    def _letters(self, draft: View) -> Tensor:
        bits = draft.probability.float().contiguous().view(torch.int32).long()
        return self.trace.to(bits.device)[(bits * 2654435761 % 4294967291) % len(self.trace)]

    def certain(self, draft: View) -> Tensor:
        return self._letters(draft) == 0

    def choose(self, views: Views) -> Choice:
        theirs = views[1].top
        if 0 not in views:
            return Choice(theirs, torch.ones_like(theirs))
        replaced = self._letters(views[0]) == 2
        return Choice(torch.where(replaced, theirs, views[0].top), replaced.long())


def build(size: str, device: torch.device, dtype: torch.dtype, seed: int) -> Any:
    torch.manual_seed(seed)
    config = LlamaConfig(**SIZES[size], max_position_embeddings=4096, eos_token_id=None, bos_token_id=None)
    with torch.device(device):
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            model: Any = LlamaForCausalLM(config).eval()
        finally:
            torch.set_default_dtype(before)
    model.generation_config.eos_token_id = None
    return model


def bandwidth(device: torch.device) -> float:
    """Bytes a second that a large copy reads and writes (the best of five)."""
    source = torch.empty((1 << 30 if device.type == "cuda" else 1 << 27) // 4, device=device)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(5):
        wait(device)
        begin = time.perf_counter()
        target.copy_(source)
        wait(device)
        best = min(best, time.perf_counter() - begin)
    return 2 * source.nbytes / best


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def bytes_read(passes: list[floor.Recorded]) -> int:
    """Every weight once a pass, and the keys and values of every row that takes part."""
    return sum(
        p.member.weight_bytes
        + sum(held + new for held, (_, new) in zip(p.held, p.counts, strict=True)) * p.member.row_bytes_per_token
        for p in passes
    )


def ours(members: list[Member], name: str, method: Method, requests: list[Request], batch: int, rate: float) -> dict[str, Any]:
    def go() -> tuple[float, int]:
        wait(members[0].device)
        begin = time.perf_counter()
        rows = Loop(members, method, Options(batch_size=batch), Letters().encode).run(requests[: max(4, batch)])
        wait(members[0].device)
        return time.perf_counter() - begin, sum(len(r.token_ids) for r in rows)

    go()  # warm-up
    with floor.recording(members) as passes:
        seconds, tokens = go()
    alone = floor.seconds(passes)
    return {
        "system": name, "batch": batch, "tokens": tokens, "seconds": seconds, "tokens_per_second": tokens / seconds,
        "passes": len(passes), "passes_alone_seconds": alone, "overhead_over_floor": seconds / alone,
        "bandwidth_floor_seconds": bytes_read(passes) / rate,
    }  # fmt: skip


def theirs(models: list[Any], requests: list[Request]) -> list[dict[str, Any]]:
    rows = []
    tokenizer = Letters()
    ways: dict[str, Callable[[Request], tuple[list[int], float]]] = {
        "transformers generate, assistant": lambda r: peers.generate(models[1], tokenizer, r),
        "both models at every token": lambda r: peers.every_token(models, peers.rule(0.5, 0.5), r, frozenset(), tokenizer),
    }
    for name, write in ways.items():
        write(requests[0])
        begin = time.perf_counter()
        tokens = sum(len(write(r)[0]) for r in requests[:4])
        seconds = time.perf_counter() - begin
        rows.append({"system": name, "batch": 1, "tokens": tokens, "seconds": seconds, "tokens_per_second": tokens / seconds})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="tiny models, to try the script")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16", "float32"))
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--batches", default="1,4,16,64")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/gpu.json"))
    arguments = parser.parse_args()
    device, dtype = torch.device(arguments.device), getattr(torch, arguments.dtype)
    if device.type == "cpu" and not arguments.tiny:
        raise SystemExit("There is no GPU here: add --tiny to try the script on the processor.")
    sizes = ("tiny", "tiny") if arguments.tiny else ("1.1B", "7B")
    traces = json.loads(ACCEPTANCE.read_text(encoding="utf-8"))["methods"]
    batches = [int(b) for b in arguments.batches.split(",")]
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randint(1, SIZES[sizes[0]]["vocab_size"], (max(4, *batches), arguments.prompt_tokens), generator=generator)
    requests = [Request(tuple(p), arguments.max_new_tokens) for p in prompts.tolist()]
    rate = bandwidth(device)
    plain = [build(size, device, dtype, seed) for seed, size in enumerate(sizes)]
    rows = theirs(plain, requests)
    members = [Member(model, Letters(), size) for model, size in zip(plain, sizes, strict=True)]
    methods: list[tuple[str, Method]] = [
        ("draft", Alone(0)), ("assistant", Alone(1)), ("average", Average([1.0, 1.0])),
        ("speculative, replayed", Replayed(traces["speculative"], gated=False)),
        ("cosd-rule, replayed", Replayed(traces["cosd-rule"], gated=True)),
    ]  # fmt: skip
    rows += [ours(members, name, method, requests, b, rate) for name, method in methods for b in batches]
    machine = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine(),
        "torch": torch.__version__, "bandwidth_gb_per_second": rate / 1e9,
    }  # fmt: skip
    text = "\n".join([f"{sizes[0]} draft, {sizes[1]} assistant, {arguments.dtype}, {machine}", HEAD, *map(line, rows)])
    print(text)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine, "sizes": sizes, "arguments": {k: str(v) for k, v in vars(arguments).items()}, "rows": rows}
    arguments.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    arguments.out.with_suffix(".txt").write_text(text + "\n", encoding="utf-8")


HEAD = f"{'system':<36}{'batch':>6}{'tokens/s':>10}{'passes':>8}{'÷ passes alone':>16}{'÷ bandwidth floor':>19}"


def line(row: dict[str, Any]) -> str:
    text = f"{row['system']:<36}{row['batch']:>6}{row['tokens_per_second']:>10.1f}"
    if "passes" in row:
        text += f"{row['passes']:>8}{row['overhead_over_floor']:>16.2f}{row['seconds'] / row['bandwidth_floor_seconds']:>19.2f}"
    return text


if __name__ == "__main__":
    main()
