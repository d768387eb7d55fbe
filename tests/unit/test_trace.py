"""The terminal's view of one output: authors told apart without colour, rejected tokens marked, nothing escapes."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cosd_eval.analysis.trace import mark, render_trace, turned_down, visible

SAMPLES = Path(__file__).parents[1] / "golden" / "results" / "toy-results" / "toy" / "cosd-rule" / "gsm8k" / "samples.jsonl"


@pytest.fixture
def decoded() -> dict[str, Any]:
    output: dict[str, Any] = json.loads(SAMPLES.read_text().splitlines()[0])["outputs"][0]
    return output


def shown(decoded: dict[str, Any], colour: bool = False, **options: Any) -> str:
    system: Any = "truecolor" if colour else None
    console = Console(width=200, force_terminal=colour, color_system=system, record=True, file=io.StringIO())
    console.print(render_trace(decoded, ["small", "large"], **options))
    return console.export_text(styles=colour)


def test_without_colour_everything_is_still_told(decoded: dict[str, Any]) -> None:
    text = shown(decoded)
    assert "We[- <b>no-] add¹ 2 =[- <b>no-] 0¹" in text
    assert "draft small" in text and "assistant¹ large¹" in text
    assert "5 tokens, ended by end; 3 rounds, 3 assistant calls; 2 replaced (40 %)" in text


def test_rejected_tokens_are_struck_out_and_authors_coloured(decoded: dict[str, Any]) -> None:
    text = shown(decoded, colour=True)
    assert "\x1b[2;9;31m[- <b>no-]" in text  # 9: struck out
    assert "\x1b[1;4;36m add" in text  # 4: underlined


def test_the_table_lists_disagreements_with_probabilities(decoded: dict[str, Any]) -> None:
    rows = [line for line in shown(decoded).splitlines() if "large¹" in line and line[0].isdigit()]
    assert len(rows) == 2 and "0.30" in rows[0] and "0.80" in rows[0]
    assert len([line for line in shown(decoded, every_token=True).splitlines() if line[:1].isdigit()]) == 5 + 1  # and the summary


def test_a_token_of_no_member_is_a_mixtures(decoded: dict[str, Any]) -> None:
    decoded["provenance"]["author"][1] = -1
    text = shown(decoded)
    assert " add~" in text and "mixture ~" in text
    assert [mark(a) for a in (0, 1, 12, -1)] == ["", "¹", "¹²", "~"]


def test_members_that_were_not_asked_are_said_so(decoded: dict[str, Any]) -> None:
    seen = decoded["provenance"]
    for key in ("top", "top_text", "probability"):
        seen[key][1][1] = None
    assert "not asked" in shown(decoded, every_token=True)
    seen["author"][1] = 0
    assert turned_down(seen, 1) is None


def test_model_output_cannot_steer_the_terminal(decoded: dict[str, Any]) -> None:
    decoded["provenance"]["text"][0] = "\x1b[2J\x07[bold]We\x9b"
    text = shown(decoded)
    assert "\x1b" not in text and "\x07" not in text and "␛[2J␇[bold]We␡" in text
    assert visible("a\nb\tc") == "a\nb\tc"


def test_what_follows_a_stop_string_is_told_apart(decoded: dict[str, Any]) -> None:
    assert "⏹" not in shown(decoded)
    assert " add¹ 2⏹ =[-" in shown({**decoded, "text": "We add 2", "finish": "stop"})
    assert "We⏹[-" in shown({**decoded, "text": "We", "finish": "stop"})


def test_a_number_stands_on_the_line_of_its_token(decoded: dict[str, Any]) -> None:
    decoded["provenance"]["text"][1] = " add\n"
    assert " add¹\n 2 =" in shown(decoded)


def test_an_empty_output_renders(decoded: dict[str, Any]) -> None:
    empty = {key: [] for key in decoded["provenance"]}
    text = shown({**decoded, "provenance": empty, "counters": {**decoded["counters"], "output_tokens": 0}})
    assert "0 tokens" in text
