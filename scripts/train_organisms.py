"""Rebuild the built-in models and their evaluation items, each from a seed.

    python scripts/train_organisms.py --items                  # the evaluation items (JSONL)
    python scripts/train_organisms.py --only librarian         # one model (all of them without --only), with card and curve
    python scripts/train_organisms.py --evaluate               # every model on every skill: cards, figures, SCENARIOS.md

`specialist` goes on from `generalist`, which must be there first. Weights are bit for bit the same only on the same machine,
torch and thread count; the data is the same everywhere.
"""

import argparse
import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from cosd_eval.evaluation.programs import run_confined
from cosd_eval.organisms.cards import draw_curve, draw_reliability, write_card, write_scenarios
from cosd_eval.organisms.measure import SKILLS, answer_probabilities, encode, measure, pad
from cosd_eval.organisms.mixtures import TEACHINGS, evaluation_items, tokenizer_texts, training_items
from cosd_eval.organisms.tokenizer import train_tokenizer

FOLDER = Path(__file__).parent.parent / "cosd_eval" / "organisms"
BATCH_TOKENS = 3072
PROMPT_WEIGHT = 0.1  # prompts are mostly random names and numbers: worth modelling, but not at the answers' expense


@dataclass(frozen=True)
class Recipe:
    """teaching: a key of TEACHINGS. tokens: how many to train on (prompt and answer). start: go on from this model.

    choice: the weight of a multiple-choice answer in the loss (any other answer token has 1): it is one token in thirty.
    """

    teaching: str
    tokens: int
    width: int = 128
    layers: int = 4
    vocabulary: int = 1024
    rate: float = 3e-3
    choice: float = 4.0
    seed: int = 0
    start: str | None = None


RECIPES = {
    "arithmetician": Recipe("arithmetician", 4_500_000, choice=1.0, seed=1),
    "librarian": Recipe("librarian", 3_600_000, choice=8.0, seed=2),
    "archivist": Recipe("archivist", 4_000_000, vocabulary=448, seed=3),
    "generalist": Recipe("generalist", 3_600_000, seed=4),
    "specialist": Recipe("specialist", 1_200_000, rate=1e-3, seed=5, start="generalist"),
    "novice": Recipe("generalist", 3_600_000, width=64, layers=2, rate=4e-3, seed=6),
}


def new_model(recipe: Recipe, tokenizer: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.width,
        intermediate_size=recipe.width * 5 // 2,
        num_hidden_layers=recipe.layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def batches(recipe: Recipe, tokenizer: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless (ids, weights), each (rows, longest): items of like length together, about BATCH_TOKENS tokens a batch."""
    items = training_items(recipe.teaching, recipe.seed)
    rng = random.Random(recipe.seed)
    while True:
        rows = [(*encode(tokenizer, item), recipe.choice if item.skill == "choice" else 1.0) for item in islice(items, 4096)]
        rows.sort(key=lambda row: len(row[0]) + len(row[1]))
        groups: list[list[tuple[list[int], list[int], float]]] = [[]]
        for row in rows:
            if (len(groups[-1]) + 1) * (len(row[0]) + len(row[1])) > BATCH_TOKENS:
                groups.append([])
            groups[-1].append(row)
        rng.shuffle(groups)
        for group in groups:
            ids = pad([p + a for p, a, _ in group], tokenizer.pad_token_id)
            weights = torch.zeros(ids.shape)
            for i, (p, a, answer_weight) in enumerate(group):
                weights[i, : len(p)] = PROMPT_WEIGHT
                weights[i, len(p) : len(p) + len(a)] = answer_weight
            yield ids, weights


def schedule(step: int, steps: int) -> float:
    """Share of the top rate: linear warm-up over 60 steps, then a cosine to a twentieth."""
    if step < 60:
        return (step + 1) / 60
    return 0.05 + 0.475 * (1 + math.cos(math.pi * (step - 60) / max(1, steps - 60)))


def optimizers_of(model: Any) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for embeddings and norms. `top`: their rates relative to the recipe's."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    muon = torch.optim.Muon([{"params": matrices, "top": 2.0}], weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    return [muon, torch.optim.AdamW([{"params": others, "top": 1.0}], betas=(0.9, 0.98), weight_decay=0.0, fused=True)]


def train(recipe: Recipe, model: Any, tokenizer: Any, device: str) -> list[dict[str, float]]:
    """Trains in float32; the curve: tokens seen, mean training loss since the last point, held-out nats per answer token."""
    model.to(device).train()
    optimizers = optimizers_of(model)
    held_out = {skill: evaluation_items(skill, 64, seed=99) for skill in SKILLS}
    steps = recipe.tokens // BATCH_TOKENS
    every = max(1, steps // 16)
    curve: list[dict[str, float]] = []
    losses: list[float] = []
    start = time.perf_counter()
    for step, (ids, weights) in enumerate(islice(batches(recipe, tokenizer), steps)):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["top"] * recipe.rate * schedule(step, steps)
        ids, weights = ids.to(device), weights.to(device)[:, 1:]
        logits = model(input_ids=ids).logits[:, :-1].float()
        each = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
        loss = (each * weights).sum() / weights.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        losses.append(float(loss.detach()))
        if (step + 1) % every == 0 or step + 1 == steps:
            model.eval()
            point = {"tokens": (step + 1) * BATCH_TOKENS, "training": sum(losses) / len(losses)}
            point |= {s: float(-answer_probabilities(model, tokenizer, held_out[s])[2].mean()) for s in SKILLS}
            model.train()
            losses.clear()
            curve.append(point)
            words = " ".join(f"{k} {v:.3f}" for k, v in point.items() if k != "tokens")
            print(f"{step + 1}/{steps} {time.perf_counter() - start:.0f}s {words}", flush=True)
    return curve


def make(name: str, out: Path, device: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    recipe = RECIPES[name]
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    train_tokenizer(tokenizer_texts(20_000), recipe.vocabulary, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if recipe.start:
        model = AutoModelForCausalLM.from_pretrained(out / recipe.start, dtype=torch.float32)
    else:
        model = new_model(recipe, tokenizer)
    print(f"{name}: {model.num_parameters():,} parameters", flush=True)
    start = time.perf_counter()
    curve = train(recipe, model, tokenizer, device)
    seconds = time.perf_counter() - start
    model = model.bfloat16()
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(folder)
    # What is measured is what is shipped: bfloat16 weights, computed with in float32.
    scores = measured(folder, device)
    facts = {
        "name": name,
        "parameters": model.num_parameters(),
        "seconds": round(seconds),
        "teaching": recipe.teaching,
        "seed": recipe.seed,
        "tokens": recipe.tokens,
        "start": recipe.start,
        "shares": TEACHINGS[recipe.teaching].shares,
        "vocabulary": len(tokenizer),
        "layers": recipe.layers,
        "width": recipe.width,
        "rate": recipe.rate,
        "torch": torch.__version__,
        "device": device,
        "threads": torch.get_num_threads(),
        "curve": curve,
        "scores": scores,
    }
    (folder / "training.json").write_text(json.dumps(facts, indent=1) + "\n")
    describe(folder, scores)


def describe(folder: Path, scores: dict[str, Any]) -> None:
    """Card and figures of one model from its training.json and new scores, which are written there as well."""
    facts = json.loads((folder / "training.json").read_text()) | {"scores": scores}
    (folder / "training.json").write_text(json.dumps(facts, indent=1) + "\n")
    draw_curve(facts, folder / "curve.svg")
    draw_reliability(facts, folder / "reliability.svg")
    write_card(facts, folder / "README.md")


def measured(folder: Path, device: str) -> dict[str, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.to(device)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = measure(model, tokenizer, {skill: evaluation_items(skill, 300) for skill in SKILLS}, run_confined)
    for skill, values in found.items():
        print(f"  {skill}: " + str({k: v for k, v in values.items() if k.startswith("score")}), flush=True)
    return found


def write_items(folder: Path) -> None:
    """The 300 evaluation items a task, and their first 100 for CI, one JSON object a line."""
    folder.mkdir(parents=True, exist_ok=True)
    for skill in SKILLS:
        lines = [json.dumps(item.fields, ensure_ascii=False) + "\n" for item in evaluation_items(skill, 300)]
        (folder / f"builtin_{skill}.jsonl").write_text("".join(lines), encoding="utf-8")
        (folder / f"builtin_{skill}_ci.jsonl").write_text("".join(lines[:100]), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(RECIPES), action="append", help="this model alone (may be repeated)")
    parser.add_argument("--out", type=Path, default=FOLDER / "models", help="folder of the models' folders")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--items", action="store_true", help="write the evaluation items and stop")
    parser.add_argument("--evaluate", action="store_true", help="measure all models, rewrite cards and SCENARIOS.md, and stop")
    args = parser.parse_args()
    if args.items:
        write_items(FOLDER / "data")
    elif args.evaluate:
        scores = {name: measured(args.out / name, args.device) for name in RECIPES}
        for name, found in scores.items():
            describe(args.out / name, found)
        write_scenarios(scores, FOLDER / "SCENARIOS.md")
    else:
        for name in args.only or RECIPES:
            make(name, args.out, args.device)


if __name__ == "__main__":
    main()
