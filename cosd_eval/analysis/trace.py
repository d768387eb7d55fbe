"""One decoded output for the terminal: who wrote each token, what was turned down, with which probabilities."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

# A member's tokens differ by colour, by underlining, and by the member's number after each run of them: colour is never alone.
_STYLES = ("", "bold underline cyan", "bold underline2 magenta", "bold underline green", "bold underline2 yellow")
_MIXTURE = "italic blue"
_REJECTED = "dim strike red"
_DIGITS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def render_trace(decoded: Mapping[str, Any], member_names: Sequence[str], every_token: bool = False) -> RenderableType:
    """What `records.Decoded` holds, as a dict, for rich to print: legend, output, and the tokens on which members disagree.

    member_names: draft first. every_token: list all tokens below, not only those.
    """
    seen, counters = decoded["provenance"], decoded["counters"]
    return Group(
        _legend(member_names),
        Text(),
        _output(seen, decoded["text"]),
        Text(),
        _tokens(seen, member_names, every_token),
        _summary(decoded, counters),
    )


def turned_down(seen: Mapping[str, Any], position: int) -> str | None:
    """The draft's token that was thrown away at this position for another, or None. seen: fields of `records.Provenance`."""
    first = seen["top"][position][0]
    if seen["author"][position] == 0 or first is None or first == seen["token"][position]:
        return None
    return str(seen["top_text"][position][0])


def visible(text: str) -> str:
    """Model output is not trusted with the terminal: control characters as their pictures; newlines and tabs stay."""
    return "".join(chr(0x2400 + ord(c)) if ord(c) < 32 and c not in "\n\t" else "␡" if 127 <= ord(c) < 160 else c for c in text)


def mark(author: int) -> str:
    """The sign after an author's tokens: nothing for the draft, the number of an assistant, ~ for a mixture's own choice."""
    return "" if author == 0 else "~" if author < 0 else str(author).translate(_DIGITS)


def _style(author: int) -> str:
    return _MIXTURE if author < 0 else _STYLES[author % len(_STYLES)]


def _legend(names: Sequence[str]) -> Text:
    legend = Text()
    for i, name in enumerate(names):
        legend.append("draft " if i == 0 else f"assistant{mark(i)} ")
        legend.append(name, _style(i)).append(mark(i)).append("   ")
    return legend.append("[-turned down-]", _REJECTED).append("   mixture").append("~", _MIXTURE)


def _output(seen: Mapping[str, Any], text: str) -> Text:
    """The tokens; those after the answer (a stop string and what came with it) follow a sign of their own."""
    output, authors = Text(), seen["author"]
    starts = list(accumulate((len(piece) for piece in seen["text"]), initial=0))[:-1]
    whole = "".join(seen["text"]).startswith(text)
    after = next((i for i, start in enumerate(starts) if start >= len(text)), None) if whole else None
    for i, piece in enumerate(seen["text"]):
        if i == after:
            output.append("⏹", "dim")
        rejected = turned_down(seen, i)
        if rejected is not None:
            output.append(f"[-{_one_line(rejected)}-]", _REJECTED)
        words = visible(piece).rstrip("\n")
        output.append(words, _style(authors[i]))
        if i + 1 == len(authors) or authors[i + 1] != authors[i] or turned_down(seen, i + 1) is not None:
            output.append(mark(authors[i]))
        output.append(visible(piece)[len(words) :])
    return output


def _one_line(text: str) -> str:
    return visible(text).replace("\n", "↵").replace("\t", "⇥")


def _tokens(seen: Mapping[str, Any], names: Sequence[str], every: bool) -> RenderableType:
    table = Table("#", "written", "by", *names, box=None, header_style="bold", pad_edge=False)
    for i, piece in enumerate(seen["text"]):
        if every or len({token for token in seen["top"][i] if token is not None}) > 1:
            author = seen["author"][i]
            by = "mixture ~" if author < 0 else names[author] + mark(author)
            table.add_row(
                str(i), Text(_one_line(piece), _style(author)), Text(by), *(_view(seen, i, m) for m in range(len(names)))
            )
    if not table.row_count:
        return Text("No member that was asked would have written another token.")
    return Group(
        Text(f"{'Every token' if every else 'Where members disagree'}, with the probability each gave its own choice:"), table
    )


def _view(seen: Mapping[str, Any], position: int, member: int) -> Text:
    """What a member would have written, and how sure it was; struck out if it was not written."""
    text, p = seen["top_text"][position][member], seen["probability"][position][member]
    if text is None or p is None:
        return Text("not asked", "dim")
    chosen = seen["top"][position][member] == seen["token"][position]
    return Text.assemble((_one_line(text) if chosen else f"[-{_one_line(text)}-]", "" if chosen else _REJECTED), f" {p:.2f}")


def _summary(decoded: Mapping[str, Any], counters: Mapping[str, Any]) -> Text:
    tokens = counters["output_tokens"]
    share = f" ({100 * counters['replaced'] / tokens:.0f} %)" if tokens else ""
    return Text(
        f"{tokens} tokens, ended by {decoded['finish']}; {counters['rounds']} rounds, "
        f"{counters['assistant_calls']} assistant calls; {counters['replaced']} replaced{share}, "
        f"{counters['draft_discarded']} of {counters['draft_tokens']} draft tokens thrown away."
    )
