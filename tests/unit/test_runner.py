import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_data
from fake_pair import FakePair

from cosd_eval.config import AssistantMethod, DraftMethod, RuleMethod, TreeMethod
from cosd_eval.decoding.loop import Options
from cosd_eval.errors import ConfigError, StoreError, UnsafeCodeError
from cosd_eval.evaluation import runner, tiny
from cosd_eval.evaluation.runner import Settings, content_digest, method_identity, run
from cosd_eval.evaluation.tasks import TaskOptions


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.write(tmp_path_factory.mktemp("data"), items=8)


@pytest.fixture
def settings(tmp_path: Path, data: Path) -> Settings:
    pair = tmp_path / "fake.yaml"
    pair.write_text("name: fake\nscenario: test\ndraft: {model: nowhere/Small}\nassistants: [{model: nowhere/Large}]\n")
    return Settings(
        (str(pair),),
        ("gsm8k",),
        (DraftMethod(), RuleMethod(alpha=0.25)),
        tmp_path / "out",
        task_options=TaskOptions(data_dir=data),
    )


def using(pair: FakePair) -> Any:
    return lambda *_, **__: pair


def samples(out: Path, method: str = "draft", task: str = "gsm8k") -> dict[int, Any]:
    lines = (out / "fake" / method / task / "samples.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    return {s["doc_id"]: s for s in map(json.loads, lines)}


def test_cells_and_their_files(settings: Settings) -> None:
    filled = run(settings, load_members=using(FakePair()))
    assert [(c.about.method, c.about.task) for c in filled] == [("draft", "gsm8k"), ("cosd-rule:alpha=0.25", "gsm8k")]
    folder = settings.out / "fake" / "cosd-rule,alpha=0.25" / "gsm8k"
    assert sorted(p.name for p in folder.iterdir() if p.name != ".lock") == [
        "cell.json",
        "run.json",
        "samples.jsonl",
        "scores.json",
    ]
    cell, scores, facts = (json.loads((folder / f"{n}.json").read_text()) for n in ("cell", "scores", "run"))
    assert cell["members"] == ["Small", "Large"] and cell["identity"]["task"]["num_fewshot"] == 5
    assert cell["primary"] == {"metric": "exact_match", "filter": "strict-match"}
    assert [(s["metric"], s["filter"], s["n"]) for s in scores] == [
        ("exact_match", "strict-match", 8),
        ("exact_match", "flexible-extract", 8),
    ]
    assert (
        facts["timed_tokens"] == facts["tokens"]
        and facts["rounds"] == 24
        and facts["documents"] == 8
        and facts["asked_share"] == pytest.approx(16 / facts["tokens"])
    )
    right = [
        m["value"]
        for s in samples(settings.out, "cosd-rule,alpha=0.25").values()
        for m in s["metrics"]
        if m["filter"] == "strict-match"
    ]
    assert scores[0]["value"] == pytest.approx(sum(right) / 8)


def test_a_larger_limit_goes_on_and_a_smaller_one_takes_nothing_away(settings: Settings) -> None:
    pair = FakePair()
    run(replace(settings, limit=3, methods=(DraftMethod(),)), load_members=using(pair))
    assert sorted(samples(settings.out)) == [0, 1, 2]
    (cell,) = run(replace(settings, limit=5, methods=(DraftMethod(),)), load_members=using(pair))
    assert len(pair.generated) == 5 and cell.scores[0].n == 5
    before = (settings.out / "fake/draft/gsm8k/run.json").read_text()
    (cell,) = run(replace(settings, limit=2, methods=(DraftMethod(),)), load_members=using(pair))
    assert len(pair.generated) == 5 and cell.scores[0].n == 5
    assert (settings.out / "fake/draft/gsm8k/run.json").read_text() == before


def test_what_changes_no_output_changes_no_identity(settings: Settings) -> None:
    run(settings, load_members=using(FakePair()))
    pair = FakePair()
    run(
        replace(settings, limit=4, device="cpu", options=Options(batch_size=1, draft_length=3, gate=False)),
        load_members=using(pair),
    )
    assert not pair.generated


@pytest.mark.parametrize(
    ("change", "named"),
    [({"task_options": {"num_fewshot": 2}}, "task.num_fewshot"), ({"task_options": {"seed": 2}}, "task.seed"),
     ({"system_instruction": "Be brief."}, "task.chat.system"), ({}, "pair.revision")],
)  # fmt: skip
def test_what_changes_outputs_is_refused(change: dict[str, Any], named: str, settings: Settings) -> None:
    run(settings, load_members=using(FakePair()))
    options = replace(settings.task_options, **change.pop("task_options", {}))
    pair = FakePair()
    pair.revision = "1" if change or options != settings.task_options else "2"
    with pytest.raises(StoreError, match=named):
        run(replace(settings, task_options=options, **change), load_members=using(pair))


def test_groups_are_weighted_as_lm_eval_does(settings: Settings) -> None:
    pair = FakePair()
    filled = run(replace(settings, tasks=("mmlu",)), load_members=using(pair))
    assert len(pair.passes) == 1 and [f.run["shared_pass"] for f in filled] == [2, 2]
    assert filled[0].run["tokens"] == filled[1].run["tokens"] > 0 and filled[0].run["seconds"] == filled[1].run["seconds"]
    own, *parts = filled[0].scores
    assert own.subtask is None and own.metric == "acc" and own.n == 114 and own.stderr
    leaves = [s for s in parts if s.n == 2]
    assert len(leaves) == 57 and own.value == pytest.approx(sum(s.value for s in leaves) / 57)
    assert {s.subtask for s in parts if s.n > 2} == {"mmlu_stem", "mmlu_other", "mmlu_social_sciences", "mmlu_humanities"}


def test_both_ways_of_multiple_choice_stand_side_by_side(settings: Settings) -> None:
    pair = FakePair()
    run(replace(settings, tasks=("tinyMMLU",)), load_members=using(pair))
    generated = replace(settings, tasks=("tinyMMLU",), task_options=replace(settings.task_options, generate_choices=True))
    filled = run(generated, load_members=using(pair))
    assert filled[0].about.task == "tinyMMLU:generate"
    assert {p.name for p in (settings.out / "fake/draft").iterdir()} == {"tinyMMLU", "tinyMMLU,generate"}


def test_tiny_benchmarks_say_what_their_score_is(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    tinymmlu = replace(settings, tasks=("tinyMMLU",), methods=(DraftMethod(),))
    (cell,) = run(tinymmlu, load_members=using(FakePair()))
    assert "plain mean over the items: gp-IRT needs all 100 items" in cell.about.notes[0] and cell.scores[0].note == "plain mean"
    monkeypatch.setattr(tiny, "unavailable", lambda items: None)
    monkeypatch.setattr(tiny, "estimate", lambda values, benchmark: sum(values) / 100 + len(values) * (benchmark == "mmlu"))
    run(tinymmlu, load_members=using(FakePair()))
    written = json.loads((settings.out / "fake/draft/tinyMMLU/cell.json").read_text())
    scores = json.loads((settings.out / "fake/draft/tinyMMLU/scores.json").read_text())
    assert written["primary"]["metric"] == "acc_norm_gpirt" and "gp-IRT" in written["notes"][0]
    assert [(s["metric"], s["note"]) for s in scores] == [("acc_norm_gpirt", "gp-IRT estimate"), ("acc_norm", "")]
    assert scores[0]["value"] > 8 and scores[1]["value"] <= 1


def test_generated_code_needs_consent(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from cosd_eval.evaluation import sandbox

    code = replace(settings, tasks=("humaneval",))
    with pytest.raises(UnsafeCodeError, match="--confirm-run-unsafe-code"):
        run(code, load_members=lambda *_, **__: pytest.fail("no model is loaded before consent"))

    def none() -> str:
        raise UnsafeCodeError("no way to confine")

    monkeypatch.setattr(sandbox, "require_confinement", none)
    with pytest.raises(UnsafeCodeError, match="no way to confine"):
        run(replace(code, confirm_unsafe=True), load_members=using(FakePair()))


def test_a_stored_verdict_is_not_run_again(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from cosd_eval.evaluation import programs, sandbox

    ran: list[str] = []
    monkeypatch.setattr(sandbox, "require_confinement", lambda: "test")
    monkeypatch.setattr(programs, "run_confined", lambda source: bool(ran.append(source)) or len(ran) % 2 == 0)
    code = replace(settings, tasks=("humaneval",), methods=(DraftMethod(),), confirm_unsafe=True)
    (first,) = run(code, load_members=using(FakePair()))
    assert (
        len(ran) == 8 and first.scores[0].value == 0.5 and ran[0].endswith("\ncheck(f7)\n") and "def f7(x):\n so it is" in ran[0]
    )
    (second,) = run(code, load_members=using(FakePair()))
    assert len(ran) == 8 and second.scores == first.scores


def test_chat_needs_a_template(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="no chat template"):
        run(replace(settings, chat=True), load_members=using(FakePair()))
    with pytest.raises(ConfigError, match="--apply-chat-template"):
        run(replace(settings, fewshot_as_multiturn=True), load_members=using(FakePair()))


def test_chat_turns(settings: Settings) -> None:
    pair = FakePair(chat_template="{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>")
    run(replace(settings, chat=True, system_instruction="Be brief.", limit=1, methods=(DraftMethod(),)), load_members=using(pair))
    prompt = samples(settings.out)[0]["prompt"]
    assert prompt.startswith("<system>Be brief.") and prompt.count("<user>") == 6 and prompt.endswith("<assistant>")


def test_a_file_that_a_method_names_counts_by_content(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text("same")
    assert method_identity(TreeMethod(tree=str(tmp_path / "a.json"))) == method_identity(
        TreeMethod(tree=str(tmp_path / "b.json"))
    )
    (tmp_path / "b.json").write_text("other")
    assert content_digest(tmp_path / "a.json") != content_digest(tmp_path / "b.json")


def test_equal_methods_are_one_cell(settings: Settings) -> None:
    filled = run(replace(settings, methods=(AssistantMethod(), AssistantMethod()), limit=1), load_members=using(FakePair()))
    assert len(filled) == 1


def test_effective_limit() -> None:
    from types import SimpleNamespace

    store = SimpleNamespace(samples={("a", 0): None, ("a", 1): None, ("b", 0): None})
    assert runner.effective_limit(1, store, {"a": 2, "b": 3}) == 1  # type: ignore[arg-type]
    assert runner.effective_limit(1, store, {"a": 4}) == 2  # type: ignore[arg-type]
    assert runner.effective_limit(1, store, {"a": 2}) is None  # type: ignore[arg-type]
    assert runner.effective_limit(None, store, {"b": 3}) is None  # type: ignore[arg-type]
