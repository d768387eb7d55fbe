"""Tokens to text, one at a time, and the end of a text."""

from collections.abc import Sequence
from typing import Any

Tokenizer = Any


class Detokenizer:
    """Text of a growing sequence. The pieces join to the whole text; bytes of an unfinished character wait for the rest."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.ids: list[int] = []
        self._known = 0  # tokens whose text was handed out
        self._context = 0  # decoding starts here, so that a tokenizer sees a word's beginning

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    def push(self, token: int) -> str:
        """The piece of text that this token completes."""
        self.ids.append(token)
        before = self._decode(self.ids[self._context : self._known])
        now = self._decode(self.ids[self._context :])
        if now.endswith("\ufffd") or len(now) <= len(before):
            return ""
        self._context, self._known = self._known, len(self.ids)
        return now[len(before) :]

    def rest(self) -> str:
        """What is still held back (an unfinished character)."""
        return self._decode(self.ids[self._context :])[len(self._decode(self.ids[self._context : self._known])) :]

    def copy(self) -> "Detokenizer":
        other = Detokenizer(self.tokenizer)
        other.ids, other._known, other._context = self.ids[:], self._known, self._context
        return other


class Ending:
    """Watches a text for its first stop string."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str]) -> None:
        self.stop = [s for s in stop if s]
        self.reach = max((len(s) for s in self.stop), default=0)
        self.text = Detokenizer(tokenizer)
        self.tail = ""

    def push(self, token: int) -> tuple[str, bool]:
        """The new piece of text, and whether a stop string is now complete."""
        piece = self.text.push(token)
        self.tail = (self.tail + piece)[-(self.reach + len(piece)) :] if self.reach else ""
        return piece, any(s in self.tail for s in self.stop)

    def would_stop(self, tokens: Sequence[int]) -> bool:
        """Whether a stop string is complete once these tokens follow."""
        if not self.stop:
            return False
        ahead = Ending(self.text.tokenizer, self.stop)
        ahead.text, ahead.tail = self.text.copy(), self.tail
        return any(ahead.push(t)[1] for t in tokens)


def final_text(tokenizer: Tokenizer, ids: Sequence[int], stop: Sequence[str], end: frozenset[int]) -> str:
    """The output as lm-eval reads it: no end token, no special tokens, cut before the first stop string."""
    kept = list(ids[:-1]) if ids and ids[-1] in end else list(ids)
    text: str = tokenizer.decode(kept, skip_special_tokens=True)
    for s in stop:
        if s:
            text = text.split(s)[0]
    return text
