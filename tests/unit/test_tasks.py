import json
from pathlib import Path

import pytest
import tiny_data

from cosd_eval.errors import ConfigError, DataMissing, UnknownName, UnsafeCodeError
from cosd_eval.evaluation import catalog, choice, tiny
from cosd_eval.evaluation.runner import quiet
from cosd_eval.evaluation.tasks import CellTask, TaskOptions, expand, load_one


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.write(tmp_path_factory.mktemp("data"))


def load(name: str, data: Path | None, **options: object) -> CellTask:
    with quiet():
        return load_one(name, TaskOptions(data_dir=data, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", catalog.KNOWN)
def test_every_benchmark_is_built_from_a_folder(name: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: pytest.fail("the data folder should be enough"))
    loaded = load(name, data)
    assert sum(loaded.sizes().values()) == (114 if name == "mmlu" else 6)
    assert loaded.runs_code == (name == "humaneval")


def test_stock_prompt_and_examples(data: Path) -> None:
    loaded = load("gsm8k", data)
    loaded.reseed(1234)
    (task,) = loaded.tasks.values()
    task.build_all_requests(limit=1)
    prompt = task.instances[0].args[0]
    assert prompt.count("Question: What is 1") == 5 and prompt.endswith("Question: What is 0 plus 0?\nAnswer:")
    loaded.reseed(1234)
    task.build_all_requests(limit=1)
    assert task.instances[0].args[0] == prompt


def test_mmlu_keeps_its_groups_and_tells_subjects_apart(data: Path) -> None:
    loaded = load("mmlu", data)
    assert len(loaded.tasks) == 57
    assert list(loaded.groups) == ["mmlu", "mmlu_stem", "mmlu_other", "mmlu_social_sciences", "mmlu_humanities"]
    assert {d["subject"] for d in loaded.tasks["mmlu_anatomy"].eval_docs} == {"anatomy"}
    assert loaded.primary() == ("acc", "none")


def test_a_missing_file_is_named_with_what_it_should_hold(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match=r"gsm8k/test.jsonl is missing: it should hold the test documents.*question, answer"):
        load("gsm8k", tmp_path)
    tiny_data.write_jsonl(tmp_path / "gsm8k" / "test.jsonl", [{"question": "1?", "answer": "1"}])
    with pytest.raises(DataMissing, match=r"gsm8k/train.jsonl is missing"):  # five examples come from there
        load("gsm8k", tmp_path)
    assert load("gsm8k", tmp_path, num_fewshot=0).sizes() == {"gsm8k": 1}


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    tiny_data.write_jsonl(tmp_path / "humaneval" / "test.jsonl", [{"prompt": "", "test": "", "entry_point": ""}, {"prompt": ""}])
    with pytest.raises(DataMissing, match="line 2, has no field 'test'"):
        load("humaneval", tmp_path)


def test_validation_stands_in_for_a_test_split_that_is_not_there(data: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (data / "arc_challenge/validation.jsonl").read_text().splitlines()]
    tiny_data.write_jsonl(tmp_path / "arc_challenge" / "validation.jsonl", rows[:2])
    loaded = load("arc_challenge", tmp_path)
    assert loaded.sizes() == {"arc_challenge": 2} and "validation" in loaded.notes[0]


def test_identity_is_of_what_is_asked_not_of_where_it_lies(data: Path, tmp_path: Path) -> None:
    before = load("gsm8k", data).identity(1)
    other = tiny_data.write(tmp_path / "elsewhere")
    assert load("gsm8k", other).identity(1) == before
    assert load("gsm8k", data, num_fewshot=2).identity(1) != before
    assert load("gsm8k", data).identity(2) != before
    rows = (other / "gsm8k/test.jsonl").read_text().replace("3 plus 3", "three plus three")
    (other / "gsm8k/test.jsonl").write_text(rows)
    changed = load("gsm8k", other).identity(1)
    assert {k for k in before if before[k] != changed[k]} == {"data"}


def test_a_task_that_says_no_examples_keeps_that(data: Path) -> None:
    assert load("truthfulqa_mc1", data, num_fewshot=5).tasks["truthfulqa_mc1"].config.num_fewshot == 0
    assert load("mmlu_anatomy", data, num_fewshot=1).tasks["mmlu_anatomy"].config.num_fewshot == 1


def test_names(data: Path) -> None:
    assert expand(["tinyGSM8k", "gsm8k", "tinyGSM8k"]) == ["tinyGSM8k", "gsm8k"]
    assert expand(["tinyBenchmarks"]) == ["tinyArc", "tinyGSM8k", "tinyMMLU", "tinyWinogrande", "tinyHellaswag", "tinyTruthfulQA"]
    with pytest.raises(UnknownName, match="did you mean 'gsm8k'"):
        expand(["gsm8kk"])


def test_code_that_lm_eval_would_run_unconfined_is_refused() -> None:
    with pytest.raises(UnsafeCodeError, match="unconfined"):
        load("mbpp", None)


def test_a_folder_is_never_left_for_the_network(data: Path) -> None:
    with pytest.raises(DataMissing, match="'piqa' has no place in a data folder"):
        load("piqa", data)


def test_a_task_file(tmp_path: Path) -> None:
    tiny_data.write_jsonl(tmp_path / "items.jsonl", [{"q": "1+1=", "a": "2"}])
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"task: mine\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {tmp_path}/items.jsonl}}, cache_dir: {tmp_path}}}\n"
        "test_split: test\noutput_type: generate_until\ndoc_to_text: '{{q}}'\ndoc_to_target: '{{a}}'\n"
    )
    assert load(str(path), None).sizes() == {"mine": 1}
    path.write_text("task: [")
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        load(str(path), None)
    with pytest.raises(ConfigError, match="no task file"):
        load(str(tmp_path / "none.yaml"), None)


@pytest.mark.parametrize(
    "name", ["mmlu", "hellaswag", "winogrande", "arc_challenge", "truthfulqa_mc1", "tinyTruthfulQA", "tinyMMLU"]
)
def test_multiple_choice_by_generation(name: str, data: Path) -> None:
    loaded = load(name, data, generate_choices=True)
    assert loaded.label == f"{name}:generate" and loaded.identity(1)["scoring"] == "generation"
    task = next(iter(loaded.tasks.values()))
    doc = task.eval_docs[1]
    text, right = task.doc_to_text(doc), task.doc_to_target(doc)
    assert text.endswith("\nAnswer:") and "\nA. " in text and "\nB. " in text
    assert task.process_results(doc, [f" {right}."]) == {"acc": 1.0}
    assert task.process_results(doc, [" I do not know"]) == {"acc": 0.0}
    if name == "mmlu":
        assert (
            "mmlu:generate" in loaded.groups and loaded.groups["mmlu:generate"].get_all_tasks()[0].OUTPUT_TYPE == "generate_until"
        )


def test_generated_choices_name_the_right_text(data: Path) -> None:
    stock, made = load("truthfulqa_mc1", data), load("truthfulqa_mc1", data, generate_choices=True)
    task = made.tasks["truthfulqa_mc1"]
    letters = []
    for number, doc in enumerate(stock.tasks["truthfulqa_mc1"].eval_docs):
        letters.append(task.doc_to_target(doc))
        assert f"\n{letters[-1]}. true {number}\n" in task.doc_to_text(doc)
    assert len(set(letters)) > 1  # lm-eval's first choice is always true; here it must not always be A


@pytest.mark.parametrize(
    ("text", "letter"),
    [(" B", "B"), ("(C) because", "C"), ("B. A dog", "B"), (" The answer is D.", "D"), ("I think that C fits", "C"), ("none", None),
     ("because", None), (" E", None), ("Answer: B", "B"), ("The answer is a banana, so C", "C")],
)  # fmt: skip
def test_reading_the_letter(text: str, letter: str | None) -> None:
    assert choice.read_letter(text, "ABCD") == letter


def test_gp_irt_needs_all_items_and_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "all 100 items" in str(tiny.unavailable(20))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tiny.importlib.util, "find_spec", lambda _: None)
    assert "not installed" in str(tiny.unavailable(100))
    monkeypatch.setattr(tiny.importlib.util, "find_spec", lambda _: object())
    assert "tinyBenchmarks.pkl" in str(tiny.unavailable(100))
    (tmp_path / "tinyBenchmarks.pkl").touch()
    assert tiny.unavailable(100) is None
