from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import tiny_data
from fake_pair import FakePair, byte_tokenizer
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import LlamaConfig, LlamaForCausalLM

from cosd_eval.config import AssistantMethod, DraftMethod, RuleMethod, method_label
from cosd_eval.errors import ConfigError, PromptTooLong
from cosd_eval.evaluation.adapter import Cell, Encoder, PairLM
from cosd_eval.evaluation.runner import quiet
from cosd_eval.evaluation.store import CellStore, Description
from cosd_eval.evaluation.tasks import CellTask, TaskOptions, load_one


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.write(tmp_path_factory.mktemp("data"))


@pytest.fixture
def open_cells(tmp_path: Path) -> Iterator[Any]:
    with ExitStack() as stack:

        def opened(task: str, *methods: Any) -> list[Cell]:
            abouts = [Description("fake", method_label(m), task, {"method": method_label(m)}) for m in methods]
            return [Cell(m, stack.enter_context(CellStore(tmp_path, a))) for m, a in zip(methods, abouts, strict=True)]

        yield opened


def ready(name: str, data: Path, limit: int | None = None, **options: Any) -> CellTask:
    with quiet():
        loaded = load_one(name, TaskOptions(data_dir=data, **options))
        loaded.reseed(1234)
        for task in loaded.tasks.values():
            task.build_all_requests(limit=limit)
    return loaded


def requests(loaded: CellTask) -> list[Instance]:
    return [i for task in loaded.tasks.values() for i in task.instances]


def test_generation_is_stored_as_it_finishes_and_read_back(data: Path, open_cells: Any) -> None:
    loaded = ready("gsm8k", data)
    pair = FakePair(stop_after=4)
    (cell,) = open_cells("gsm8k", DraftMethod())
    with pytest.raises(KeyboardInterrupt):
        PairLM(pair, loaded.tasks, cell).generate_until(requests(loaded))
    assert sorted(cell.store.samples) == [("gsm8k", n) for n in (2, 3, 4, 5)]

    pair.stop_after = None
    told: list[tuple[int, bool]] = []
    loaded = ready("gsm8k", data)
    answers = PairLM(pair, loaded.tasks, cell, on_sample=lambda s, new: told.append((s.doc_id, new))).generate_until(
        requests(loaded)
    )
    assert len(pair.generated) == 6  # two were missing
    assert sorted(told) == [(0, True), (1, True), (2, False), (3, False), (4, False), (5, False)]
    sample = cell.store.samples["gsm8k", 3]
    assert answers[3] == sample.outputs[0]["text"] and answers[3].endswith("\n\n") and "Question" not in answers[3]
    assert sample.prompt == loaded.tasks["gsm8k"].instances[3].args[0]
    assert {(m.metric, m.filter) for m in sample.metrics} == {
        ("exact_match", "strict-match"),
        ("exact_match", "flexible-extract"),
    }


def test_requests_carry_the_tasks_settings(data: Path, open_cells: Any) -> None:
    loaded, pair = ready("humaneval", data, limit=1), FakePair()
    PairLM(pair, {"humaneval": _unscored(loaded)}, open_cells("humaneval", DraftMethod())[0]).generate_until(requests(loaded))
    ((request, _),) = pair.generated
    assert request.max_new_tokens == 1024
    assert request.stop == ("\nclass", "\ndef", "\n#", "\nif", "\nprint", "<end>")


def _unscored(loaded: CellTask) -> Any:
    (task,) = loaded.tasks.values()
    task.set_config("process_results", lambda doc, results: {"pass@1": 0.0})
    return task


@pytest.mark.parametrize("settings", [{"do_sample": True, "temperature": 0.7}, {"num_beams": 3}])
def test_what_decoding_cannot_do_is_told(settings: dict[str, Any], data: Path, open_cells: Any) -> None:
    loaded = ready("gsm8k", data, limit=1)
    loaded.tasks["gsm8k"].instances[0].args[1].update(settings)
    with pytest.raises(ConfigError, match=r"sampling|num_beams"):
        PairLM(FakePair(), loaded.tasks, open_cells("gsm8k", DraftMethod())[0]).generate_until(requests(loaded))


def test_one_scoring_pass_fills_all_cells(data: Path, open_cells: Any) -> None:
    loaded, pair = ready("hellaswag", data), FakePair()
    cells = open_cells("hellaswag", DraftMethod(), AssistantMethod(), RuleMethod())
    first = PairLM(pair, loaded.tasks, cells[0], cells[1:]).loglikelihood(requests(loaded))
    assert pair.passes == [(24, ("draft", "assistant", "cosd-rule"))]
    assert [len(c.store.samples) for c in cells] == [6, 6, 6] and cells[2].shared_pass == 3
    loaded = ready("hellaswag", data)
    second = PairLM(pair, loaded.tasks, cells[1], [cells[0], cells[2]]).loglikelihood(requests(loaded))
    assert len(pair.passes) == 1 and second != first
    output = cells[1].store.samples["hellaswag", 2].outputs[1]
    assert second[9] == (output["log_likelihood"], output["is_greedy"])
    assert output["continuation"] == " ends x 2." and "context" not in output


def test_only_what_each_cell_lacks_is_scored(data: Path, open_cells: Any) -> None:
    pair = FakePair()
    draft, rule = open_cells("arc_challenge", DraftMethod(), RuleMethod())
    loaded = ready("arc_challenge", data, limit=2)
    PairLM(pair, loaded.tasks, draft).loglikelihood(requests(loaded))
    loaded = ready("arc_challenge", data, limit=3)
    PairLM(pair, loaded.tasks, rule, [draft]).loglikelihood(requests(loaded))
    assert sorted(pair.passes[1:]) == [(3, ("cosd-rule", "draft")), (6, ("cosd-rule",))]


def test_contexts_that_differ_are_kept(data: Path, open_cells: Any) -> None:
    loaded = ready("winogrande", data, limit=1)
    (cell,) = open_cells("winogrande", DraftMethod())
    PairLM(FakePair(), loaded.tasks, cell).loglikelihood(requests(loaded))
    sample = cell.store.samples["winogrande", 0]
    assert sample.prompt.endswith("and Ann") and sample.outputs[1]["context"].endswith("and Bo")


def test_rolling_adds_up_its_windows(tmp_path: Path, open_cells: Any) -> None:
    tiny_data.write_jsonl(tmp_path / "text.jsonl", [{"text": "some words " * 5}, {"text": "short"}])
    path = tmp_path / "words.yaml"
    path.write_text(
        f"task: words\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {tmp_path}/text.jsonl}}, cache_dir: {tmp_path}}}\n"
        "test_split: test\noutput_type: loglikelihood_rolling\ndoc_to_text: ''\ndoc_to_target: '{{text}}'\n"
        "metric_list: [{metric: word_perplexity}, {metric: bits_per_byte}]\n"
    )
    with quiet():
        loaded = load_one(str(path), TaskOptions())
        loaded.tasks["words"].build_all_requests()
    pair = FakePair(max_length=16)
    (cell,) = open_cells("words", DraftMethod())
    answers = PairLM(pair, loaded.tasks, cell).loglikelihood_rolling(requests(loaded))
    sample = cell.store.samples["words", 0]
    assert pair.passes == [(4 + 1, ("draft",))]
    assert len(sample.outputs[0]["per_token"]) == 55 and answers[0] == pytest.approx(sum(sample.outputs[0]["per_token"]))
    bits = next(m.value for m in sample.metrics if m.metric == "bits_per_byte")
    assert bits == pytest.approx(-answers[0] / 55 / 0.6931471805599453)


# -- the same ids as lm-eval's `hf`


@pytest.fixture(scope="module")
def hf() -> HFLM:
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 300}
    model = LlamaForCausalLM(LlamaConfig(**sizes, max_position_embeddings=32))
    return HFLM(pretrained=model, tokenizer=byte_tokenizer())


@pytest.mark.parametrize(
    ("context", "continuation"),
    [
        ("a question", " an answer"),
        ("ends in spaces  ", "b"),
        ("", "alone"),
        ("", "<end>after"),
        ("<end>begun", " c"),
        ("x\n", "y"),
    ],
)
def test_pairs_are_tokenized_as_lm_eval_does(context: str, continuation: str, hf: HFLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf, "_loglikelihood_tokens", lambda requests, **_: requests)
    ((_, before, after),) = hf.loglikelihood([Instance("loglikelihood", {}, (context, continuation), 0)], disable_tqdm=True)
    assert Encoder(hf.tokenizer, 32).pair(context, continuation) == (before, after)


@pytest.mark.parametrize("length", [1, 31, 32, 33, 70])
def test_windows_are_lm_evals(length: int, hf: HFLM, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def catch(requests: Any, **_: Any) -> list[tuple[float, bool]]:
        seen.extend(requests)
        return [(0.0, True)] * len(requests)

    monkeypatch.setattr(hf, "_loglikelihood_tokens", catch)
    hf.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, ("x" * length,), 0)], disable_tqdm=True)
    assert Encoder(hf.tokenizer, 32).windows("x" * length) == [(a, b) for _, a, b in seen]


def test_long_contexts_lose_their_beginning(hf: HFLM) -> None:
    encoder = Encoder(hf.tokenizer, 32, truncate=True)
    assert (
        encoder.prompt("0123456789" * 4, 8)
        == encoder.prompt("0123456789" * 4, 0)[-24:]
        == encoder.encode("678901234567890123456789")
    )
    request = encoder.score_request(encoder.encode("c" * 40), encoder.encode("d" * 5))
    assert len(request.context) == 28
    with pytest.raises(PromptTooLong, match="writes up to 32 tokens"):
        encoder.prompt("a", 32)
    with pytest.raises(PromptTooLong, match="33 tokens"):
        encoder.score_request([1], [1] * 33)


def test_a_chat_template_that_refuses_a_system_message_gets_none() -> None:
    template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}[{{ m.content }}]{% endfor %}"
    )
    pair = FakePair(chat_template=template)
    model = PairLM(pair, {}, Cell(DraftMethod(), None))  # type: ignore[arg-type]
    assert model.apply_chat_template([{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]) == "[u]"


def test_a_prompt_that_does_not_fit_is_refused_unless_it_may_be_cut(hf: Any) -> None:
    encoder = Encoder(hf.tokenizer, 32)
    long = "x " * 400
    with pytest.raises(PromptTooLong, match="--truncate-prompts"):
        encoder.prompt(long, 4)
    with pytest.raises(PromptTooLong, match="--truncate-prompts"):
        encoder.score_request([1] * 40, [2])
    assert len(Encoder(hf.tokenizer, 32, truncate=True).prompt(long, 4)) == 28
