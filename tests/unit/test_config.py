"""Every shipped configuration is a test case; mistakes in one name the file and the key."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from cosd_eval.config import (
    AssistantMethod,
    AverageMethod,
    MemberSpec,
    PairSpec,
    RuleMethod,
    SuiteSpec,
    config_folder,
    digest,
    list_methods,
    list_pairs,
    list_suites,
    load_pair,
    method_label,
    parse_method,
    read_method,
    read_pair,
)
from cosd_eval.errors import ConfigError, UnknownName, UserError

PAIRS = sorted((config_folder() / "pairs").glob("*.yaml"))
METHODS = sorted((config_folder() / "methods").glob("*.yaml"))
SUITES = sorted((config_folder() / "suites").glob("*.yaml"))
PUBLISHED = ("pair1", "pair2", "pair3", "pair4", "pair5", "pair6", "trio")


@pytest.mark.parametrize("path", PAIRS, ids=lambda p: p.stem)
def test_a_shipped_pair_is_valid_and_is_found_by_its_names(path: Path) -> None:
    pair = read_pair(path)
    assert pair.name == path.stem
    assert load_pair(pair.name) == pair
    for alias in pair.aliases:
        assert load_pair(alias) == pair
    assert load_pair(str(path)) == pair
    assert pair.members == (pair.draft, *pair.assistants)


@pytest.mark.parametrize("path", METHODS, ids=lambda p: p.stem)
def test_a_shipped_method_is_valid_and_is_found_by_its_name(path: Path) -> None:
    spec = read_method(path)
    assert spec.method == path.stem
    assert parse_method(path.stem) == [spec] == parse_method(str(path))
    assert parse_method(method_label(spec)) == [spec]


@pytest.mark.parametrize("path", SUITES, ids=lambda p: p.stem)
def test_a_shipped_suite_is_valid(path: Path) -> None:
    suite = list_suites()[path.stem]
    assert suite.name == path.stem
    assert suite.tasks and len(set(suite.tasks)) == len(suite.tasks)


def test_all_that_is_promised_is_shipped() -> None:
    assert {*PUBLISHED, "qwen-coder", "smol-gemma"} <= {p.name for p in list_pairs()}
    assert {"draft", "assistant", "speculative", "average", "cosd-rule", "cosd-tree", "co-llm"} <= set(list_methods())
    assert list_suites()["paper"].tasks == ("tinyMMLU", "tinyGSM8k", "tinyHellaswag", "tinyTruthfulQA", "humaneval")
    assert len(list_suites()["tiny"].tasks) == 6


def test_no_two_pairs_answer_to_one_name() -> None:
    names = [name for pair in list_pairs() for name in (pair.name, *pair.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_pair_says_what_the_paper_says_and_what_is_inferred(name: str) -> None:
    """The paper names models and gives no hub ids, so every id has to be marked as our reading."""
    pair = load_pair(name)
    assert pair.published["icml2025"] == name
    assert all(member.inferred and member.published_as for member in pair.members)
    assert pair.note.startswith("The paper gives no hub ids")


@pytest.mark.parametrize("name", [p.name for p in list_pairs() if p.name not in PUBLISHED])
def test_other_pairs_claim_no_place_in_the_paper(name: str) -> None:
    pair = load_pair(name)
    assert not pair.published
    assert not any(member.inferred or member.published_as for member in pair.members)


def test_pairs_1_and_2_swap_between_the_editions() -> None:
    assert load_pair("iclr-pair2").name == "pair1"
    assert load_pair("iclr-pair1").name == "pair2"
    assert load_pair("pair1").published == {"icml2025": "pair1", "iclr2025": "pair2"}
    assert load_pair("pair1").draft.published_as == "Mistral 7B DARE"
    assert load_pair("pair2").draft.published_as == "Llama 3 Wissenschaft 8B"
    assert [m.published_as for m in load_pair("trio").members] == ["TinyLlama 1.1B", "Llama 2 Chat 7B", "Llama 7B"]


# --- mistakes -----------------------------------------------------------------------------------------------------------
GOOD = "name: mine\nscenario: s\ndraft:\n  model: a\nassistants:\n  - model: b\n"


def complaint(tmp_path: Path, text: str) -> str:
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        read_pair(file)
    assert "mine.yaml" in str(error.value)
    assert isinstance(error.value, UserError)
    return str(error.value)


def test_a_good_file_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(GOOD)
    assert load_pair(str(tmp_path / "mine.yaml")) == PairSpec(
        name="mine", scenario="s", draft=MemberSpec(model="a"), assistants=(MemberSpec(model="b"),)
    )


def test_typos_name_the_file_and_the_key_and_suggest_the_right_one(tmp_path: Path) -> None:
    message = complaint(tmp_path, GOOD.replace("scenario", "scenaro"))
    assert "'scenaro'" in message and "did you mean 'scenario'?" in message
    message = complaint(tmp_path, GOOD.replace("model: a", "model: a\n  revison: main"))
    assert "draft.revison" in message and "did you mean 'revision'?" in message
    message = complaint(tmp_path, GOOD.replace("- model: b", "- model: b\n    gguff: x"))
    assert "assistants.0.gguff" in message and "'gguf'" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("name: mine\n", ""), ["'name' is missing"]),
        (GOOD.replace("  - model: b\n", "  []\n"), ["assistants"]),
        (GOOD.replace("model: a", "model: a\n  dtype: float8"), ["draft.dtype", "float8"]),
        (GOOD + "published: {icml2024: pair1}\n", ["published", "icml2024"]),
        ("name: [unclosed\n", ["not valid YAML", "line"]),
        ("- a\n- b\n", ["`key: value`"]),
        ("", ["`key: value`"]),
    ],
)
def test_other_mistakes_say_what_and_where(tmp_path: Path, text: str, words: list[str]) -> None:
    message = complaint(tmp_path, text)
    for word in words:
        assert word in message


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"There is no file .*nowhere.yaml"):
        load_pair(str(tmp_path / "nowhere.yaml"))


def test_an_unknown_pair_suggests_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'qwen-coder'"):
        load_pair("qwen-codr")
    with pytest.raises(UnknownName, match=r"choose from: .*pair1"):
        load_pair("xyzzy")


# --- methods ------------------------------------------------------------------------------------------------------------
def test_parameters_need_no_file() -> None:
    assert parse_method("cosd-rule:alpha=0.25,beta=1") == [RuleMethod(alpha=0.25, beta=1)]
    assert parse_method("assistant:index=1") == [AssistantMethod(index=1)]
    assert parse_method("cosd-rule:beta=0.75") == [RuleMethod(beta=0.75)]


def test_a_slash_makes_a_list_of_numbers_but_leaves_paths_alone() -> None:
    assert parse_method("average:weights=0.2/0.3/0.5") == [AverageMethod(weights=(0.2, 0.3, 0.5))]
    [tree] = parse_method("cosd-tree:tree=trees/qwen.json")
    assert tree.model_dump()["tree"] == "trees/qwen.json"


def test_a_bar_sweeps_and_two_make_a_grid() -> None:
    grid = parse_method("cosd-rule:alpha=0.25|0.5|0.75,beta=0.5|0.75|1|1.25")
    assert len(grid) == 12 == len(set(map(method_label, grid)))
    assert {(s.alpha, s.beta) for s in grid if isinstance(s, RuleMethod)} == {
        (a, b) for a in (0.25, 0.5, 0.75) for b in (0.5, 0.75, 1, 1.25)
    }


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("cosd-rule:alpha=0.5,beta=0.50", "cosd-rule"),
        ("cosd-rule:beta=1.25,alpha=0.25", "cosd-rule:alpha=0.25,beta=1.25"),
        ("average:weights=1/0", "average:weights=1/0"),
        ("draft", "draft"),
    ],
)
def test_a_label_is_what_one_would_type(text: str, label: str) -> None:
    [spec] = parse_method(text)
    assert method_label(spec) == label
    assert parse_method(label) == [spec]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cosd-rule:alpah=1", ["alpah", "did you mean 'alpha'"]),
        ("cosd-rule:alpha", ["'alpha' should be key=value"]),
        ("cosd-rule:alpha=high", ["alpha", "high"]),
        ("cosd-rule:alpha=-1", ["alpha", "-1"]),
        ("assistant:index=0", ["index", "0"]),
        ("co-llm:eta=2", ["eta"]),
        ("draft:alpha=1", ["alpha"]),
    ],
)
def test_a_wrong_parameter_says_which(text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        parse_method(text)
    for word in words:
        assert word in str(error.value)


def test_an_unknown_method_suggests_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'cosd-rule'"):
        parse_method("cosd-rules")


# --- identity -----------------------------------------------------------------------------------------------------------
def test_a_digest_is_stable_and_ignores_the_order_of_keys() -> None:
    """These values are in people's results folders: a change here makes every cell look new."""
    assert digest({}) == "44136fa355b3"
    assert digest({"a": 1, "b": [1.5, None, "é"]}) == digest({"b": [1.5, None, "é"], "a": 1}) == "7d5a50c3860c"
    assert digest({"a": 1}) != digest({"a": 2}) != digest({"a": "2"})


def test_specs_are_frozen_and_refuse_unknown_keys() -> None:
    spec = RuleMethod()
    with pytest.raises(ValidationError):
        spec.alpha = 1
    with pytest.raises(ValidationError):
        SuiteSpec.model_validate({"name": "x", "tasks": ["a"], "task": "b"})


def test_a_pair_can_be_swapped() -> None:
    pair, other = load_pair("qwen-coder"), load_pair("qwen-coder-swapped")
    assert (other.name, other.draft, other.assistants) == ("qwen-coder-swapped", pair.assistants[0], (pair.draft,))
    with pytest.raises(ConfigError, match="only two"):
        load_pair("trio-swapped")
