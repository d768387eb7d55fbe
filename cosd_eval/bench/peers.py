"""How people do it today: transformers' generate, lm-eval's `hf` model, and both models at every token."""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import torch

from cosd_eval.decoding.loop import Request

Model = Any


class FirstToken:
    """A stopping criterion that never stops and notes when the first token was there, in seconds from its making."""

    def __init__(self) -> None:
        self.begin, self.seconds = perf_counter(), 0.0

    def __call__(self, ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        self.seconds = self.seconds or perf_counter() - self.begin
        return torch.zeros(ids.shape[0], dtype=torch.bool, device=ids.device)


def generate(model: Model, tokenizer: Any, request: Request, **settings: Any) -> tuple[list[int], float]:
    """One prompt with transformers; returns the new ids (up to the first stop string's last token) and time to first token."""
    from transformers import StoppingCriteriaList
    from transformers.generation.stopping_criteria import StopStringCriteria

    first = FirstToken()
    ids = torch.tensor([request.prompt], device=model.device)
    # as criteria: transformers hands `stop_strings` on to the assistant, without the tokenizer, and then refuses them
    stop = [StopStringCriteria(tokenizer, list(request.stop))] if request.stop else []
    out = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=request.max_new_tokens,
        do_sample=False,
        stopping_criteria=StoppingCriteriaList([first, *stop]),
        **settings,
    )
    written: list[int] = out[0, ids.shape[1] :].tolist()
    return written, first.seconds


@torch.inference_mode()
def every_token(
    models: Sequence[Model], choose: Callable[[list[torch.Tensor]], int], request: Request, end: frozenset[int], tokenizer: Any
) -> tuple[list[int], float]:
    """The naive way: every model runs at every token, each with transformers' own cache."""
    begin, first = perf_counter(), 0.0
    caches: list[Any] = [None] * len(models)
    new = torch.tensor([request.prompt], device=models[0].device)
    written: list[int] = []
    while len(written) < request.max_new_tokens:
        logits = []
        for i, model in enumerate(models):
            out = model(input_ids=new, past_key_values=caches[i], use_cache=True, logits_to_keep=1)
            caches[i] = out.past_key_values
            logits.append(out.logits[0, -1].float())
        written.append(choose(logits))
        first = first or perf_counter() - begin
        new = torch.tensor([[written[-1]]], device=models[0].device)
        if written[-1] in end or any(s in tokenizer.decode(written[-12:]) for s in request.stop):
            break
    return written, first


def rule(alpha: float, beta: float) -> Callable[[list[torch.Tensor]], int]:
    """CoSD-Rule on two members' logits."""

    def choose(logits: list[torch.Tensor]) -> int:
        p, q = (x.softmax(-1) for x in logits)
        ours, theirs = int(p.argmax()), int(q.argmax())
        replaced = ours != theirs and p[ours] < alpha and q[theirs] > beta * p[ours]
        return theirs if replaced else ours

    return choose


def lm_eval_model(model: Model, tokenizer: Any, batch_size: int, max_length: int) -> Any:
    """lm-eval's own `hf` model around a loaded one."""
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, max_length=max_length, device=str(model.device))


def tokens_written(tokenizer: Any, texts: Sequence[str]) -> int:
    """Tokens of texts that came back without their ids: what was cut off (stop strings) is not counted, to nobody's favour."""
    return sum(len(tokenizer.encode(text, add_special_tokens=False)) for text in texts)
