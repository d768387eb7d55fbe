"""A pair under one method as a model of lm-eval: its strings become token ids for the engine, and its answers strings.

lm-eval hands over all requests of a type at once. Documents that the cell's store holds already are answered from it, so that
continuing a run is replaying it; the others go to the engine, and as soon as all requests of a document are done its sample
is stored. Strings become ids exactly as in lm-eval's `hf` model (`lm_eval.models.huggingface.HFLM`).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import jinja2
import numpy as np
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.task import Task
from lm_eval.models.utils import has_bos_prefix, normalize_gen_kwargs, postprocess_generated_text
from lm_eval.utils import get_rolling_token_windows, handle_non_serializable, hash_string, make_disjoint_window
from transformers import PreTrainedTokenizerBase

from cosd_eval.config import MethodSpec
from cosd_eval.decoding.loop import Options, Request
from cosd_eval.decoding.pair import Pair
from cosd_eval.decoding.scoring import ScoreRequest
from cosd_eval.errors import ConfigError, PromptTooLong
from cosd_eval.evaluation.programs import METRIC, ProgramScorer
from cosd_eval.evaluation.store import CellStore, Key
from cosd_eval.records import Decoded, Metric, Sample, Scored

Output = dict[str, Any]  # one request's result, as it is stored: see records.Sample.outputs
Ids = list[int]
MAX_NEW_TOKENS = 256  # lm-eval's default for `hf`
_PER_UNIT = ("word_perplexity", "byte_perplexity", "bits_per_byte")  # values are (log-likelihood, words or bytes)


@dataclass
class Cell:
    """One method's place in a run: where its samples go, how many methods shared its pass, what a reader must know of it.

    new: samples made in this run.
    """

    method: MethodSpec
    store: CellStore
    shared_pass: int = 1
    notes: tuple[str, ...] = ()
    new: list[Sample] = field(default_factory=list)


class Encoder:
    """lm-eval's `hf` tokenization. max_length: tokens the smallest member's context holds. truncate: a prompt that is too long
    is cut off on the left, as lm-eval does without a word; else it is refused."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int, truncate: bool = False) -> None:
        self.tokenizer, self.max_length, self.truncate = tokenizer, max_length, truncate
        self.prefix = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        if self.prefix is None:
            raise ConfigError("The draft's tokenizer has neither a first nor an end token: add one to its tokenizer_config.json.")
        self.end = str(tokenizer.decode([tokenizer.eos_token_id])) if tokenizer.eos_token_id is not None else None

    def encode(self, text: str, special: bool | None = None) -> Ids:
        """special: add the tokenizer's special tokens. None: as it is wont, but none before text that has its first one."""
        if special is None and has_bos_prefix(text, str(self.tokenizer.decode([self.prefix]))):
            special = False
        ids: Ids = self.tokenizer.encode(text, **({} if special is None else {"add_special_tokens": special}))
        return ids

    def prompt(self, text: str, max_new_tokens: int) -> Ids:
        """A prompt to write after. With `truncate` it leaves room for all max_new_tokens, else for one. Raises PromptTooLong."""
        room = self.max_length - max_new_tokens
        if room <= 0:
            raise PromptTooLong(
                f"The task writes up to {max_new_tokens} tokens, but a member's context holds {self.max_length}: "
                "choose members with longer contexts, or a task YAML with a smaller max_gen_toks."
            )
        begun = has_bos_prefix(text, self.tokenizer.bos_token)  # a chat template writes the first token itself
        ids = list(self.tokenizer(text, add_special_tokens=not begun)["input_ids"])
        if self.truncate:
            return ids[-room:]
        if len(ids) >= self.max_length:
            raise self._too_long(len(ids))
        return ids

    def _too_long(self, tokens: int) -> PromptTooLong:
        return PromptTooLong(
            f"A prompt has {tokens} tokens, and the members' context holds {self.max_length}: use fewer shots, members with "
            "longer contexts, or --truncate-prompts, which cuts prompts off on the left, as lm-eval does."
        )

    def pair(self, context: str, continuation: str) -> tuple[Ids, Ids]:
        """Context and continuation, tokenized together; spaces that end the context belong to the continuation."""
        if context == "":
            ids = self.encode(continuation, special=False)
            return ([self.prefix], ids) if not ids or ids[0] != self.prefix else (ids[:1], ids[1:])
        spaces = len(context) - len(context.rstrip())
        if spaces:
            context, continuation = context[:-spaces], context[-spaces:] + continuation
        before = self.encode(context)
        return before, self.encode(context + continuation)[len(before) :]

    def windows(self, text: str) -> list[tuple[Ids, Ids]]:
        """Disjoint (context, continuation) windows over a long text, each with as much context as fits."""
        windows = get_rolling_token_windows(self.encode(text), self.prefix, self.max_length, context_len=1)
        return [make_disjoint_window(w) for w in windows]

    def score_request(self, context: Ids, continuation: Ids) -> ScoreRequest:
        if len(continuation) > self.max_length:
            raise PromptTooLong(
                f"An answer to score has {len(continuation)} tokens, but a member's context holds {self.max_length}: "
                "choose members with longer contexts, or another task."
            )
        room = self.max_length + 1 - len(continuation)
        if len(context) > room and not self.truncate:
            raise self._too_long(len(context) + len(continuation))
        return ScoreRequest(tuple(context[-room:]), tuple(continuation))


class PairLM(LM):  # type: ignore[misc]  # lm-eval is not typed
    """The lm-eval model of `cell`. others: cells of the same pair and task; scoring fills what they lack in the same pass.

    on_sample is called with each sample that is stored in `cell`, new or read back (the second argument says which).
    """

    def __init__(
        self,
        pair: Pair,
        tasks: Mapping[str, Task],
        cell: Cell,
        others: Sequence[Cell] = (),
        options: Options = Options(),
        on_sample: Callable[[Sample, bool], None] = lambda sample, new: None,
        truncate: bool = False,
    ) -> None:
        super().__init__()
        self.pair, self.tasks, self.cell, self.options, self.on_sample = pair, tasks, cell, options, on_sample
        self.cells = [cell, *others]
        # one vocabulary: the draft's tokenizer (and chat template) for all methods, so that all are asked the same
        self.tokenizer = pair.tokenizer if pair.shared else pair.tokenizer_for(cell.method)
        self.encoder = Encoder(self.tokenizer, pair.max_length, truncate)
        self.places: dict[int, tuple[Key, int]] = {}
        self.documents: dict[Key, list[Instance]] = {}
        self.unfinished: dict[tuple[int, Key], list[Output | None]] = {}

    # -- what lm-eval calls

    def generate_until(self, requests: list[Instance]) -> list[str]:
        return self._answer(requests, self._generate)

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        return self._answer(requests, self._score)

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        return self._answer(requests, self._score)

    @property
    def tokenizer_name(self) -> str:
        return str(self.tokenizer.name_or_path)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """As lm-eval's `hf`: a template that refuses a system message gets the chat without it."""
        settings = {
            "tokenize": False,
            "add_generation_prompt": add_generation_prompt,
            "continue_final_message": not add_generation_prompt,
        }
        try:
            return str(self.tokenizer.apply_chat_template(chat_history, **settings))
        except jinja2.exceptions.TemplateError:
            chat = [message for message in chat_history if message["role"] != "system"]
            return str(self.tokenizer.apply_chat_template(chat, **settings))

    # -- documents

    def _answer(self, requests: list[Instance], compute: Callable[[list[Instance]], None]) -> list[Any]:
        self._find_documents()
        distinct = {id(r): r for r in requests}  # a repeated request comes several times, and greedy answers are equal
        store = self.cell.store.samples
        compute([r for r in distinct.values() if self.places[id(r)][0] not in store])
        return [response(store[key].outputs[place]) for key, place in (self.places[id(r)] for r in requests)]

    def _find_documents(self) -> None:
        """Which requests make up each document: a task may ask requests of several types, which arrive in several calls."""
        if self.documents:
            return
        for name, task in self.tasks.items():
            for instance in task.instances:
                key = (name, int(instance.doc_id))
                place = self.documents.setdefault(key, [])
                self.places[id(instance)] = (key, len(place))
                place.append(instance)
        for key in self.documents:
            if sample := self.cell.store.samples.get(key):
                self._recall(key, sample)
                self.on_sample(sample, False)

    def _recall(self, key: Key, sample: Sample) -> None:
        scorer = self.tasks[key[0]].config.process_results
        if isinstance(scorer, ProgramScorer):
            filtered = _filtered(self.tasks[key[0]], self.documents[key], sample.outputs)
            value = next(m.value for m in sample.metrics if m.metric == METRIC)
            scorer.recall(self.documents[key][0].doc, next(iter(filtered.values())), value)

    def _finish(self, number: int, instance: Instance, output: Output) -> None:
        """Note one request's output for cell `number`; with the document's last one, store its sample."""
        key, place = self.places[id(instance)]
        outputs = self.unfinished.setdefault((number, key), [None] * len(self.documents[key]))
        outputs[place] = output
        if all(o is not None for o in outputs):
            sample = make_sample(self.cell.store.about.task, self.tasks[key[0]], self.documents[key], [o for o in outputs if o])
            self.cells[number].store.append(sample)
            self.cells[number].new.append(sample)
            del self.unfinished[number, key]
            if number == 0:
                self.on_sample(sample, True)

    # -- generation

    def _generate(self, instances: list[Instance]) -> None:
        requests, stops = [], []
        for instance in instances:
            max_new_tokens, stop = generation_settings(instance)
            if self.encoder.end and self.encoder.end not in stop:
                stop.append(self.encoder.end)
            requests.append(Request(tuple(self.encoder.prompt(instance.args[0], max_new_tokens)), max_new_tokens, tuple(stop)))
            stops.append(stop)

        def finished(index: int, decoded: Decoded) -> None:
            text = self.tokenizer.decode(decoded.token_ids, skip_special_tokens=True)
            text = postprocess_generated_text(text, stops[index], think_end_token=None)
            self._finish(0, instances[index], {"kind": "generate", **asdict(decoded), "text": text})

        if requests:
            self.pair.generate(requests, self.cell.method, self.options, finished)

    # -- scoring

    def _score(self, instances: list[Instance]) -> None:
        """Every cell that lacks a document gets it from the same pass: documents are grouped by which cells lack them."""
        lacking: dict[tuple[int, ...], list[Instance]] = {}
        for instance in instances:
            key = self.places[id(instance)][0]
            missing = tuple(n for n, cell in enumerate(self.cells) if key not in cell.store.samples)
            lacking.setdefault(missing, []).append(instance)
        for numbers, group in lacking.items():
            for number in numbers:
                self.cells[number].shared_pass = max(self.cells[number].shared_pass, len(numbers))
            self._score_for(numbers, group)

    def _score_for(self, numbers: tuple[int, ...], instances: list[Instance]) -> None:
        requests: list[ScoreRequest] = []
        owners: list[int] = []  # of each engine request: which instance it belongs to
        for i, instance in enumerate(instances):
            rolling = instance.request_type == "loglikelihood_rolling"
            parts = self.encoder.windows(instance.args[0]) if rolling else [self.encoder.pair(*instance.args[:2])]
            requests += [self.encoder.score_request(*part) for part in parts]
            owners += [i] * len(parts)
            if not parts:  # an empty text
                for number in numbers:
                    self._finish(number, instance, _scored_output(instance, []))
        parts_of: dict[int, list[int]] = {}
        for index, owner in enumerate(owners):
            parts_of.setdefault(owner, []).append(index)
        results: dict[int, list[Scored]] = {}

        def finished(index: int, scored: list[Scored]) -> None:
            owner = owners[index]
            results[index] = scored
            if all(part in results for part in parts_of[owner]):
                for place, number in enumerate(numbers):
                    mine = [results[part][place] for part in parts_of[owner]]
                    self._finish(number, instances[owner], _scored_output(instances[owner], mine))

        if requests:
            self.pair.score(requests, [self.cells[n].method for n in numbers], self.options, finished)


def generation_settings(instance: Instance) -> tuple[int, list[str]]:
    """Most tokens to write, and the task's stop strings. Raises ConfigError for what greedy decoding can't do."""
    settings = dict(normalize_gen_kwargs(instance.args[1], MAX_NEW_TOKENS))
    max_new_tokens, stop = int(settings.pop("max_gen_toks")), [s for s in settings.pop("until") if s]
    if settings.pop("do_sample", False) or settings.pop("temperature", 0.0):
        raise ConfigError(
            f"Task {instance.task_name} asks for sampling, and decoding here is greedy: set do_sample: false in a task YAML."
        )
    unknown = sorted(set(settings) - {"temperature", "top_p", "top_k"})  # the latter two mean nothing to greedy decoding
    if unknown:
        raise ConfigError(f"Task {instance.task_name} sets {unknown[0]!r}, which is not supported: remove it in a task YAML.")
    return max_new_tokens, stop


def _scored_output(instance: Instance, parts: list[Scored]) -> Output:
    """One log-likelihood output from the windows a text was scored in (one, unless it was longer than the context)."""
    whole = Scored(
        sum(p.log_likelihood for p in parts), all(p.is_greedy for p in parts), [x for p in parts for x in p.per_token],
        [a for p in parts for a in p.author], [m for p in parts for m in p.members], sum(p.seconds for p in parts),
    )  # fmt: skip
    if instance.request_type == "loglikelihood_rolling":
        return {"kind": "loglikelihood_rolling", "continuation": instance.args[0], **asdict(whole)}
    return {"kind": "loglikelihood", "continuation": instance.args[1], "context": instance.args[0], **asdict(whole)}


def response(output: Output) -> Any:
    """What lm-eval wants back for a stored output."""
    match output["kind"]:
        case "generate":
            return output["text"]
        case "loglikelihood":
            return output["log_likelihood"], output["is_greedy"]
        case _:
            return output["log_likelihood"]


def make_sample(name: str, task: Task, instances: list[Instance], outputs: list[Output]) -> Sample:
    """One document's record, with lm-eval's metrics under each of the task's filters."""
    doc, first = instances[0].doc, instances[0]
    prompt = first.args[0] if first.request_type != "loglikelihood_rolling" else ""
    metrics = []
    for filter_name, filtered in _filtered(task, instances, outputs).items():
        for metric, value in task.process_results(doc, filtered).items():
            number = _as_number(task, metric, value)
            if number is not None:
                metrics.append(Metric(metric, filter_name, number))
    for output in outputs:
        if output.get("context") == prompt:  # it differs only where choices are contexts (WinoGrande)
            del output["context"]
    document = json.dumps(doc, indent=2, default=handle_non_serializable, ensure_ascii=False)
    return Sample(
        task=name, subtask=task.task_name, doc_id=int(first.doc_id), doc_hash=hash_string(document), prompt=prompt,
        target=str(task.doc_to_target(doc)), outputs=outputs, metrics=metrics, seconds=sum(_seconds(o) for o in outputs),
    )  # fmt: skip


def _filtered(task: Task, instances: list[Instance], outputs: list[Output]) -> dict[str, list[Any]]:
    """filter name -> one filtered response a request; on copies, since lm-eval fills its own instances."""
    copies = [
        replace(i, resps=[response(o)] * (i.repeats or 1), filtered_resps={}) for i, o in zip(instances, outputs, strict=True)
    ]
    for each in task._filters:
        each.apply(copies)
    return {each.name: [copy.filtered_resps[each.name] for copy in copies] for each in task._filters}


def _as_number(task: Task, metric: str, value: Any) -> float | None:
    """One document's metric as a number: as it is, or (perplexity: a log-likelihood and a count) aggregated over it alone."""
    if metric in _PER_UNIT:
        return float(task.aggregation()[metric]([value])) if value[1] else None
    return float(value) if isinstance(value, (int, float, np.number, np.bool_)) else None


def _seconds(output: Output) -> float:
    if output["kind"] != "generate":
        return float(output["seconds"])
    return sum(float(output["counters"][name]) for name in ("seconds_prefill", "seconds_draft", "seconds_verify"))
