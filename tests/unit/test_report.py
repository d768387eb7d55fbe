"""The report: self-contained, escaped, bounded in size, and alive in a real browser."""

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from cosd_eval.analysis import plots
from cosd_eval.analysis.browse import browsable
from cosd_eval.analysis.figures import confidence_of
from cosd_eval.analysis.report import embedded, render_report, write_report
from cosd_eval.analysis.results import Results, load_results
from cosd_eval.errors import StoreError
from cosd_eval.records import Sample

TOY = Path(__file__).parents[1] / "golden" / "results" / "toy-results"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made-up results with markup in a prompt, a target and a token."""
    folder = Path(shutil.copytree(TOY, tmp_path_factory.mktemp("hostile") / "results"))
    for path in folder.glob("*/*/gsm8k/samples.jsonl"):
        samples = [json.loads(line) for line in path.read_text().splitlines()]
        for sample in samples:
            sample["prompt"], sample["target"] = sample["prompt"] + HOSTILE, HOSTILE
            sample["outputs"][0]["provenance"]["text"][2] = HOSTILE + "\u2028"
        path.write_text("".join(json.dumps(s) + "\n" for s in samples))
    return folder


@pytest.fixture(scope="module")
def page(hostile: Path) -> str:
    return render_report(load_results(hostile))


def data_of(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found.group(1))


def test_nothing_is_fetched_and_only_our_script_runs(page: str) -> None:
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#)""", page.split('id="data"')[0])
    assert "@import" not in page and "url(" not in page
    script = page.rpartition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in page


def test_untrusted_text_is_never_markup(page: str) -> None:
    assert "<img" not in page and page.count("<script>") == 1 and page.count("</script>") == 2
    assert data_of(page)[0]["documents"][0]["target"] == HOSTILE
    assert json.loads(embedded({"a": HOSTILE + "\u2028&"})) == {"a": HOSTILE + "\u2028&"}
    assert not set("<>&\u2028") & set(embedded({"a": HOSTILE + "\u2028&"}))


def test_labels_in_tables_and_plots_are_escaped() -> None:
    results = load_results(TOY)
    named = tuple(replace(c, pair="<b>toy</b>", members=("<i>small</i>", "large")) for c in results.cells)
    page = render_report(Results(results.folder, named))
    assert "<b>toy" not in page and "<i>small" not in page and html.escape("<b>toy</b>") in page
    drawn = plots.scatter([plots.Point("<b>", "member", 1, 50, 40, 60)], "<x>", "<y>", "<t>")
    assert "<b>" not in drawn and "<x>" not in drawn and "<t>" not in drawn


def test_the_page_holds_tables_plots_and_samples(page: str) -> None:
    for heading in (
        "Score against cost",
        "How much is replaced",
        "Where it is replaced",
        "Do the members know",
        "CoSD-Rule by α and β",
    ):
        assert heading in page
    assert page.count("<svg") == 6  # cost and reliability for both tasks; replaced share and place for the written one
    assert "worst-case regret" in page and "70.00 ★" in page and "Oracle: perfect routing" in page


def test_documents_are_capped_evenly_and_that_is_said() -> None:
    results = load_results(TOY)
    tasks = browsable(results, per_task=4)
    assert [[d["id"] for d in t["documents"]] for t in tasks if t["task"] == "gsm8k"] == [[0, 3, 6, 9]]
    assert all(t["total"] in (10, 6) and len(t["documents"]) == 4 for t in tasks)
    assert "8 of 16 documents, evenly spaced" in render_report(results, samples_per_task=4)
    assert "All 16 documents" in render_report(results)


def test_few_shot_examples_are_stored_once(hostile: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(hostile, tmp_path / "results"))
    shots = "Question: one of the examples, which is rather long so that storing it once is worth the while.\nAnswer: 1\n\n" * 3
    for path in folder.glob("*/*/gsm8k/samples.jsonl"):
        samples = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps({**s, "prompt": shots + s["prompt"]}) + "\n" for s in samples))
    task = next(t for t in browsable(load_results(folder), 50) if t["task"] == "gsm8k")
    assert task["shared"] == {"gsm8k": shots}
    assert task["documents"][0]["prompt"].startswith("Question 0")


def test_confidence_by_hand() -> None:
    def sample(outputs: list[dict[str, Any]]) -> Sample:
        return Sample("t", "t", 0, "", "", "", outputs, [], 0.0)

    scored = sample([{"log_likelihood": 0.0}, {"log_likelihood": -1.0986122886681098}])
    assert confidence_of(scored, 0) == pytest.approx(0.75)  # 1 against 1/3
    written = sample([{"provenance": {"probability": [[0.9, None], [0.4, None]]}}])
    assert confidence_of(written, 0) == pytest.approx(0.6)
    assert confidence_of(written, 1) is None


def test_nothing_to_report_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no results"):
        write_report(Results(tmp_path), tmp_path / "report.html")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="choose another --output"):
        write_report(load_results(TOY), tmp_path / "file" / "report.html")


needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)")


@pytest.fixture(scope="module")
def file(hostile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(load_results(hostile), path)
    return path


def dom(file: Path, tmp_path: Path, **state: str) -> str:
    """The page as the browser has it once its script has run; the state is told by the address."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}"]  # fmt: skip
    url = f"{file.as_uri()}#{urlencode(state)}"
    done = subprocess.run([str(CHROMIUM), *flags, "--dump-dom", url], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


@needs_browser
def test_a_document_shows_who_wrote_what(file: Path, tmp_path: Path) -> None:
    text = dom(file, tmp_path, task="toy/gsm8k", method="cosd-rule", doc="2")
    assert "<title>cosd-eval: toy</title>" in text and "<img" not in text  # the hostile texts stayed texts
    article = text.partition('id="document"')[2].partition("</article>")[0]
    rule = article.partition("<h4>cosd-rule<span")[2].partition("</section>")[0]
    assert '<del class="turned"> &lt;b&gt;no</del><span class="token author1"> add</span><span class="sign">1</span>' in rule
    assert "✓ right" in rule and "2 replaced; 3 rounds" in rule
    assert article.count("<section") == 5


@needs_browser
@pytest.mark.parametrize(
    ("show", "method", "documents"),
    [("only-right", "cosd-rule", [7]), ("beats", "cosd-rule", [7]), ("loses", "cosd-rule", [3]), ("wrong", "draft", [4, 5, 6, 7, 8, 9]),
     ("only-wrong", "cosd-rule:alpha=0.25", []), ("differ", "draft", [2, 3, 4, 5, 6, 7])],
)  # fmt: skip
def test_filters_find_the_documents(file: Path, tmp_path: Path, show: str, method: str, documents: list[int]) -> None:
    text = dom(file, tmp_path, task="toy/gsm8k", show=show, method=method)
    assert [int(d) for d in re.findall(r'class="entry"[^>]*data-doc="(\d+)"', text)] == documents
    assert f"{len(documents)} of 10 documents" in text


@needs_browser
def test_multiple_choice_shows_each_continuation(file: Path, tmp_path: Path) -> None:
    text = dom(file, tmp_path, task="toy/mmlu", doc="3")
    article = text.partition('id="document"')[2].partition("</article>")[0]
    assert "mmlu_law · document 0" in article and article.count('class="choices"') == 4
    assert "▸  A" in article and "-0.300" in article
