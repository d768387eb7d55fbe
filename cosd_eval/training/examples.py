"""What CoSD-Tree and Co-LLM learn from: members' views at every position of reference outputs, teacher-forced."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from cosd_eval.decoding.loop import Options
from cosd_eval.decoding.member import Member
from cosd_eval.decoding.methods import View
from cosd_eval.decoding.scoring import ScoreRequest, read
from cosd_eval.errors import ConfigError


@dataclass(frozen=True)
class Example:
    """A prompt and its reference output. key: identifies the document (see `document_key`)."""

    prompt: str
    output: str
    key: str = ""


def document_key(text: str) -> str:
    """An id of a document by its question, whatever the white space or the few-shot examples around it."""
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:16]


@dataclass
class Positions:
    """One row per output position of all examples, in order. m members, n positions.

    probability [n, m]: each member's top probability; correct [n, m]: whether its first choice is the gold token;
    gold [n, m]: log-probability it gives the gold token; hidden [n, width]: the draft's last hidden state;
    example [n]: which example a position belongs to.
    """

    probability: Tensor
    correct: Tensor
    gold: Tensor
    hidden: Tensor
    example: Tensor


def encode_pair(tokenizer: Any, prompt: str, output: str) -> ScoreRequest:
    """Ids of a prompt and of what follows it, encoded as one text (as lm-eval does)."""
    context = tokenizer.encode(prompt)
    whole = tokenizer.encode(prompt + output)
    return ScoreRequest(tuple(context), tuple(whole[len(context) :]))


def observe(members: Sequence[Member], examples: Sequence[Example], options: Options) -> Positions:
    """One batched teacher-forced pass per member over the reference outputs. Raises ConfigError if nothing is left to read.

    An example that does not fit the members' context is cut at its end.
    """
    context = min(m.max_length for m in members)
    requests = []
    for example in examples:
        request = encode_pair(members[0].tokenizer, example.prompt, example.output)
        room = context + 1 - len(request.context)
        if request.context and request.continuation[:room] and room > 0:
            requests.append(ScoreRequest(request.context, request.continuation[:room]))
    if not requests:
        raise ConfigError("The training data holds no prompt with an output that fits the members' context: choose other --data.")
    places: list[tuple[int, int]] = []
    columns: list[tuple[Tensor, ...]] = []
    for batch, _, _ in read(members, range(len(members)), requests, options):
        for some in batch:
            views = list(some.views.values())
            places += some.places
            columns.append(
                (
                    torch.stack([v.probability for v in views], -1).cpu(),
                    torch.stack([v.top == some.targets for v in views], -1).cpu(),
                    torch.stack([v.target for v in views if v.target is not None], -1).cpu(),
                    _hidden(views[0]).float().cpu(),
                )
            )
    order = torch.tensor(sorted(range(len(places)), key=places.__getitem__))
    probability, correct, gold, hidden = (torch.cat(c)[order] for c in zip(*columns, strict=True))
    return Positions(probability, correct, gold, hidden, torch.tensor([places[i][0] for i in order.tolist()]))


def _hidden(view: View) -> Tensor:
    assert view.hidden is not None
    return view.hidden


@dataclass(frozen=True)
class Source:
    """Where training data came from: kept with what was learned, and compared with what is evaluated later.

    name: as given to --data; tasks: names of lm-eval tasks (and their tiny versions) the documents belong to.
    """

    name: str
    samples: int
    seed: int
    tasks: tuple[str, ...] = ()
    keys: tuple[str, ...] = field(default=())
