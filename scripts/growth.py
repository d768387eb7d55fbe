"""How cost grows with the length of the output and with the number of members.

    python scripts/growth.py --pair qwen-coder --model-dir ~/.cache/cosd-models

Members are the pair's draft and copies of its draft as assistants, so that every member costs the same; the end of a text
is ignored, so that every row has the length asked for. Figures go to benchmarks/growth.json and .txt.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from cosd_eval.commands.options import prepare_libraries

prepare_libraries()

from cosd_eval.bench import measure  # noqa: E402
from cosd_eval.config import PairSpec, load_pair  # noqa: E402
from cosd_eval.decoding.loop import Options, Request  # noqa: E402
from cosd_eval.decoding.pair import Pair, parse_one  # noqa: E402
from cosd_eval.evaluation.runner import quiet  # noqa: E402

PROMPTS = (
    "Here is a long story about a ship and its crew.",
    "A short history of the railway, year by year:",
    "The complete rules of a card game, explained:",
    "def main():\n    ",
)


def alike(spec: PairSpec, members: int) -> PairSpec:
    return spec.model_copy(update={"name": f"{members} members", "assistants": (spec.draft,) * (members - 1)})


def point(pair: Pair, method: str, tokens: int) -> dict[str, Any]:
    """One run: every row writes `tokens` tokens."""
    requests = [Request(p, tokens) for p in PROMPTS]
    begin = time.perf_counter()
    rows = pair.generate(requests, parse_one(method), Options(batch_size=len(requests)))
    seconds = time.perf_counter() - begin
    written = sum(len(r.token_ids) for r in rows)
    if written != tokens * len(requests):
        raise SystemExit(
            f"{written} tokens were written where {tokens * len(requests)} were asked for: the context is too short."
        )
    total = {k: sum(getattr(r.counters, k) for r in rows) for k in ("draft_tokens", "assistant_tokens", "asked", "rounds")}
    return {
        "method": method,
        "members": len(pair.members),
        "tokens": tokens,
        "seconds": seconds,
        "ms_per_token": 1000 * seconds / written,
        "drafted_per_token": total["draft_tokens"] / written,
        "read_by_assistants_per_token": total["assistant_tokens"] / written,
        "asked_per_token": total["asked"] / written,
    }


def load(spec: PairSpec, arguments: argparse.Namespace) -> Pair:
    pair = Pair.load(spec, model_dir=arguments.model_dir, dtype=arguments.dtype)
    for member in pair.members:
        member.end_tokens = frozenset()
    pair.generate([Request(PROMPTS[0], 4)], parse_one("average"), Options())  # warm-up
    return pair


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", default="qwen-coder")
    parser.add_argument("--model-dir", type=Path)
    parser.add_argument("--dtype")
    parser.add_argument("--lengths", default="256,512,1024,2048")
    parser.add_argument("--members", default="2,3,4")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/growth.json"))
    arguments = parser.parse_args()
    lengths = [int(x) for x in arguments.lengths.split(",")]
    spec = load_pair(arguments.pair)
    rows = []
    with quiet():
        pair = load(spec, arguments)
        for tokens in lengths:
            rows.append({"members_are": spec.name, **point(pair, "cosd-rule", tokens)})
            print(line(rows[-1]), flush=True)
        del pair
        for members in map(int, arguments.members.split(",")):
            pair = load(alike(spec, members), arguments)
            for method in ("cosd-rule", "average"):
                rows.append({"members_are": "copies of the draft", **point(pair, method, lengths[0])})
                print(line(rows[-1]), flush=True)
            del pair
    text = "\n".join([HEAD, *map(line, rows)])
    measure.write(arguments.out, {"pair": spec.name, "machine": measure.machine(), "rows": rows}, text)


HEAD = f"{'members':>8} {'which':<22}{'method':<12}{'tokens':>7}{'s':>9}{'ms/token':>10}{'drafted':>9}{'read':>7}{'asked':>7}"


def line(row: dict[str, Any]) -> str:
    return (
        f"{row['members']:>8} {row['members_are']:<22}{row['method']:<12}{row['tokens']:>7}{row['seconds']:>9.1f}"
        f"{row['ms_per_token']:>10.1f}{row['drafted_per_token']:>9.2f}{row['read_by_assistants_per_token']:>7.2f}"
        f"{row['asked_per_token']:>7.2f}"
    )


if __name__ == "__main__":
    main()
