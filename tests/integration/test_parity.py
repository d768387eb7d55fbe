"""`draft` and `assistant` through the adapter give lm-eval's `hf` scores, sample by sample (float32)."""

import json
from pathlib import Path

import pytest
import tiny_folders
from typer.testing import CliRunner

from cosd_eval.cli import app
from cosd_eval.evaluation.parity import agreement, compare
from cosd_eval.evaluation.runner import Settings
from cosd_eval.evaluation.tasks import TaskOptions
from cosd_eval.records import Metric, Sample

KINDS = {
    "write": "output_type: generate_until\ndoc_to_text: '{{q}}'\ndoc_to_target: '{{a}}'\ngeneration_kwargs: {until: ['e', '\\n'], max_gen_toks: 40}\n",
    "long": "output_type: generate_until\ndoc_to_text: '{{q * 60}}'\ndoc_to_target: '{{a}}'\ngeneration_kwargs: {until: ['zz'], max_gen_toks: 40}\n",
    "choose": "output_type: multiple_choice\ndoc_to_text: '{{q}} '\ndoc_to_target: 0\ndoc_to_choice: ['a', 'bb', 'a longer one']\n",
    "say": "output_type: loglikelihood\ndoc_to_text: '{{q}}'\ndoc_to_target: ' {{a}}'\nmetric_list: [{metric: perplexity}, {metric: acc}]\n",
    "roll": "output_type: loglikelihood_rolling\ndoc_to_text: ''\ndoc_to_target: '{{q * 40}}'\nmetric_list: [{metric: bits_per_byte}]\n",
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folders.write_pair(tmp_path_factory.mktemp("models"), context=256)


def write_task(folder: Path, kind: str) -> str:
    rows = [{"q": f"What is {i} and {i * i}?", "a": f"it is {i}"} for i in range(5)]
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / f"{kind}.yaml"
    path.write_text(
        f"task: {kind}\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {folder}/items.jsonl}}, cache_dir: {folder}/cache}}\n"
        f"test_split: test\n{KINDS[kind]}"
    )
    return str(path)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_agree_with_lm_evals_hf(kind: str, pair: Path, tmp_path: Path) -> None:
    found = list(compare(Settings((str(pair),), (write_task(tmp_path, kind),), (), Path(), dtype="float32")))
    assert [f.method for f in found] == ["draft", "assistant"]
    for each in found:
        assert each.n == 5 and each.agrees and each.same_output == 5, each
        assert each.gap < 1e-3


def test_the_command(pair: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["check", "parity", "--pair", str(pair), "--tasks", write_task(tmp_path, "choose"), "--limit", "2"]
    )
    assert done.exit_code == 0, done.output
    assert "tiny · choose · draft: scores equal 2/2, outputs equal 2/2" in done.stdout and "All samples agree" in done.stdout


def test_a_difference_is_found() -> None:
    output = {"kind": "generate", "text": "5"}
    ours = [Sample("t", "t", i, "", "", "", [output], [Metric("em", "none", 1.0)], 0.0) for i in range(2)]
    theirs = {"t": [{"doc_id": i, "filter": "none", "metrics": ["em"], "em": float(i), "resps": [["45"[i]]]} for i in range(2)]}
    found = agreement("p", "draft", "t", ours, theirs)
    assert (found.n, found.equal, found.same_output, found.differing, found.agrees) == (2, 1, 1, ["t#0"], False)


@pytest.mark.slow
@pytest.mark.parametrize("tasks", ["gsm8k", "tinyArc,tinyWinogrande,tinyTruthfulQA", "tinyHellaswag,tinyMMLU"])
def test_real_models(tasks: str, data_dir: Path, model_dir: Path) -> None:
    settings = Settings(("smol-gemma",), tuple(tasks.split(",")), (), Path(), limit=3, model_dir=model_dir, dtype="float32",
                        task_options=TaskOptions(data_dir))  # fmt: skip
    for each in compare(settings):
        assert each.agrees and each.same_output == each.n, each
