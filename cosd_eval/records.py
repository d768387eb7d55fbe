"""What decoding hands back: tokens, provenance, counters. No torch here, so that analysis starts fast.

Shapes: `n` is the number of output tokens of one row, `m` the number of members (0 is the draft).
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Finish = Literal["end", "stop", "length", "context"]


@dataclass
class Provenance:
    """For each output token: who wrote it and what every member that was asked would have written.

    token: n ids. text: n pieces, which join to the output before stop strings are cut off.
    author: n member indices; -1 where a mixture chose a token that is no member's own first choice.
    top, probability: n lists of m: each member's first choice and the probability it gave that token
    (softmax of raw logits at temperature 1); None where that member was not asked.
    """

    token: list[int] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    author: list[int] = field(default_factory=list)
    top: list[list[int | None]] = field(default_factory=list)
    top_text: list[list[str | None]] = field(default_factory=list)
    probability: list[list[float | None]] = field(default_factory=list)


@dataclass
class Counters:
    """Work done for one row. Times are seconds; a pass over many rows is divided among them by tokens.

    draft_tokens: tokens the draft wrote, of which draft_discarded were thrown away by a replacement.
    assistant_calls: verify passes this row took part in (summed over assistants); assistant_tokens: tokens they read
    in those passes. asked: output positions at which an assistant's view was used; accepted / replaced / bonus: of
    these, how many kept the draft's token, how many did not, and how many were written without a draft token (after a
    whole draft stood, where the assistants alone decide). rounds: draft-verify turns.
    first_token: seconds from the start of this row's prefill to its first committed token.
    """

    prompt_tokens: int = 0
    output_tokens: int = 0
    rounds: int = 0
    draft_tokens: int = 0
    draft_discarded: int = 0
    assistant_calls: int = 0
    assistant_tokens: int = 0
    asked: int = 0
    accepted: int = 0
    replaced: int = 0
    bonus: int = 0
    seconds_prefill: float = 0.0
    seconds_draft: float = 0.0
    seconds_verify: float = 0.0
    first_token: float = 0.0


@dataclass
class Decoded:
    """One generated row. `text` ends before the first stop string; `token_ids` are all tokens committed."""

    text: str
    token_ids: list[int]
    finish: Finish
    provenance: Provenance
    counters: Counters


@dataclass
class Scored:
    """The log-likelihood (nats) of one continuation under a method, and whether the method would have written it greedily.

    per_token: log-probability of each continuation token, under the method; author as in Provenance.
    members: for each token, the m members' own log-probabilities of it.
    """

    log_likelihood: float
    is_greedy: bool
    per_token: list[float]
    author: list[int]
    members: list[list[float]]
    seconds: float = 0.0


@dataclass
class Metric:
    """One of lm-eval's metrics for one sample or one task. `filter` is lm-eval's filter name ("none" if there is none)."""

    metric: str
    filter: str
    value: float


@dataclass
class Sample:
    """One task document under one (pair, method): a line of samples.jsonl.

    task is the cell's task; subtask the lm-eval task the document belongs to (equal unless task is a group).
    prompt: the context given to the members. outputs: one dict a request: for generation the fields of `Decoded`
    plus "kind": "generate"; for log-likelihood those of `Scored` plus "kind": "loglikelihood" and "continuation".
    """

    task: str
    subtask: str
    doc_id: int
    doc_hash: str
    prompt: str
    target: str
    outputs: list[dict[str, Any]]
    metrics: list[Metric]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Score:
    """One aggregated metric of a cell: a row of scores.json. subtask is None for the cell's own (group) score."""

    subtask: str | None
    metric: str
    filter: str
    value: float
    stderr: float | None
    n: int
    higher_is_better: bool = True
    note: str = ""
