"""What a built-in model can do and how well it knows it, on held-out items. Plain transformers, no engine of ours."""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from cosd_eval.organisms.items import Item

SKILLS = ("arith", "both", "choice", "code")
BINS = 10


@dataclass(frozen=True)
class Reliability:
    """Confidence (highest probability) against rightness (argmax = the token of the worked answer), over `n` tokens.

    ece: expected calibration error over ten equal bins. when_right, when_wrong: mean confidence. bins: (n, confidence, accuracy).
    """

    n: int
    accuracy: float
    confidence: float
    ece: float
    when_right: float
    when_wrong: float
    bins: list[tuple[int, float, float]]


def encode(tokenizer: Any, item: Item) -> tuple[list[int], list[int]]:
    """Prompt and answer as token ids; the answer ends with the end token."""
    answer = tokenizer(item.answer, add_special_tokens=False).input_ids
    prompt = tokenizer(item.prompt, add_special_tokens=False).input_ids if item.prompt else []
    return prompt, [*answer, tokenizer.eos_token_id]


def pad(rows: Sequence[Sequence[int]], value: int, left: bool = False) -> torch.Tensor:
    """(rows, longest) ids, filled up with `value`."""
    width = max(map(len, rows))
    filled = [[value] * (width - len(r)) + list(r) if left else list(r) + [value] * (width - len(r)) for r in rows]
    return torch.tensor(filled)


@torch.inference_mode()
def answer_probabilities(model: Any, tokenizer: Any, items: Sequence[Item], batch: int = 50) -> tuple[torch.Tensor, ...]:
    """Teacher-forced over the worked answers, for each token: confidence, right (bool), log-probability of gold, gold id."""
    out: list[torch.Tensor] = []
    for start in range(0, len(items), batch):
        pairs = [encode(tokenizer, item) for item in items[start : start + batch]]
        ids = pad([p + a for p, a in pairs], tokenizer.pad_token_id).to(model.device)
        probabilities = model(input_ids=ids).logits.float().softmax(-1)[:, :-1]
        gold = ids[:, 1:]
        mask = torch.zeros_like(gold, dtype=torch.bool)
        for i, (p, a) in enumerate(pairs):
            mask[i, max(len(p) - 1, 0) : len(p) + len(a) - 1] = True
        top, argmax = probabilities.max(-1)
        chosen = probabilities.gather(-1, gold[..., None])[..., 0]
        out.append(torch.stack([top[mask], (argmax == gold)[mask].float(), chosen[mask].log(), gold[mask].float()]).cpu())
    confidence, right, log_probability, gold_ids = torch.cat(out, 1)
    return confidence, right.bool(), log_probability, gold_ids.long()


def reliability(confidence: torch.Tensor, right: torch.Tensor) -> Reliability:
    """Both (n,)."""
    which = (confidence * BINS).long().clamp(max=BINS - 1)
    bins, ece = [], 0.0
    for b in range(BINS):
        here = which == b
        n = int(here.sum())
        c, a = (float(confidence[here].mean()), float(right[here].float().mean())) if n else (0.0, 0.0)
        bins.append((n, round(c, 4), round(a, 4)))
        ece += n / len(confidence) * abs(c - a)

    def mean(x: torch.Tensor) -> float:
        return round(float(x.float().mean()), 4) if len(x) else float("nan")

    return Reliability(
        len(confidence), mean(right), mean(confidence), round(ece, 4), mean(confidence[right]), mean(confidence[~right]), bins
    )


@torch.inference_mode()
def generate(model: Any, tokenizer: Any, prompts: Sequence[str], batch: int = 100) -> list[str]:
    texts: list[str] = []
    for start in range(0, len(prompts), batch):
        ids = [tokenizer(p, add_special_tokens=False).input_ids for p in prompts[start : start + batch]]
        padded = pad(ids, tokenizer.pad_token_id, left=True).to(model.device)
        mask = pad([[1] * len(r) for r in ids], 0, left=True).to(model.device)
        out = model.generate(input_ids=padded, attention_mask=mask, max_new_tokens=128, do_sample=False)
        texts += tokenizer.batch_decode(out[:, padded.shape[1] :], skip_special_tokens=True)
    return texts


def final_number(text: str) -> str | None:
    found = re.search(r"#### (-?\d+)", text)
    return found.group(1) if found else None


def program(item: Item, body: str) -> str:
    """The completed function, followed by its tests, as HumanEval runs it."""
    return f"{item.prompt}{body}\n{item.fields['test']}\ncheck({item.fields['entry_point']})"


@torch.inference_mode()
def likeliest(model: Any, tokenizer: Any, item: Item) -> int:
    """The index of the option with the highest log-likelihood after the prompt."""
    prompt = tokenizer(item.prompt, add_special_tokens=False).input_ids
    scores = []
    for option in item.fields["choices"]:
        answer = tokenizer(f" {option}", add_special_tokens=False).input_ids
        logits = model(input_ids=torch.tensor([prompt + answer], device=model.device)).logits[0, len(prompt) - 1 : -1]
        scores.append(float(logits.log_softmax(-1).gather(-1, torch.tensor(answer, device=model.device)[:, None]).sum()))
    return max(range(len(scores)), key=scores.__getitem__)


def right_answers(model: Any, tokenizer: Any, skill: str, items: Sequence[Item], passes: Callable[[str], bool]) -> list[bool]:
    """Greedy, each item right or wrong, as the task of that skill scores it. passes: runs a program, confined."""
    if skill == "choice":
        return [likeliest(model, tokenizer, item) == item.fields["answer"] for item in items]
    texts = generate(model, tokenizer, [item.prompt for item in items])
    if skill == "code":
        return [passes(program(item, text)) for item, text in zip(items, texts, strict=True)]
    return [final_number(text) == final_number(item.answer) for item, text in zip(items, texts, strict=True)]


def measure(model: Any, tokenizer: Any, items: dict[str, list[Item]], passes: Callable[[str], bool]) -> dict[str, Any]:
    """For each skill: n, score, and reliability over all answer tokens and over their digits alone (arith and both)."""
    model.eval()
    digits = torch.tensor([tokenizer.convert_tokens_to_ids(d) for d in "0123456789"])
    out: dict[str, Any] = {}
    for skill, of_skill in items.items():
        of_option = [replace(item, answer=item.answer.removesuffix(".")) for item in of_skill] if skill == "choice" else of_skill
        right = right_answers(model, tokenizer, skill, of_skill, passes)
        confidence, hit, log_probability, gold = answer_probabilities(model, tokenizer, of_option)
        if skill == "choice":  # a model may go on after the option as it likes
            told = gold != tokenizer.eos_token_id
            confidence, hit, log_probability, gold = confidence[told], hit[told], log_probability[told], gold[told]
        found: dict[str, Any] = {"n": len(right), "score": round(sum(right) / len(right), 4)}
        if skill == "code":
            for family in ("number", "text"):
                part = [r for r, item in zip(right, of_skill, strict=True) if item.fields["family"] == family]
                found[f"score_{family}"] = round(sum(part) / len(part), 4)
        found["tokens"] = asdict(reliability(confidence, hit))
        if skill in ("arith", "both"):
            chosen = torch.isin(gold, digits)
            found["digits"] = asdict(reliability(confidence[chosen], hit[chosen]))
        found["nats_per_token"] = round(float(-log_probability.mean()), 4)
        out[skill] = found
    return out
