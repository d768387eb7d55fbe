"""Do the members share a vocabulary: does every token have the same id in all their tokenizers?"""

from collections.abc import Sequence
from typing import Any

from cosd_eval.errors import VocabularyMismatch

Tokenizer = Any


def difference(a: Tokenizer, b: Tokenizer) -> str | None:
    """The first way in which two tokenizers' vocabularies differ, in words; None if they are one."""
    one, other = a.get_vocab(), b.get_vocab()
    if one == other:
        return None
    moved = [t for t in one if t in other and one[t] != other[t]]
    missing = sorted((set(one) ^ set(other)), key=lambda t: one.get(t, other.get(t)))
    if moved:
        return f"{len(moved)} tokens have other ids (for example {moved[0]!r}: {one[moved[0]]} and {other[moved[0]]})"
    return f"{len(missing)} tokens are in one only (for example {missing[0]!r}); sizes {len(one)} and {len(other)}"


def require_shared(tokenizers: Sequence[Tokenizer], names: Sequence[str], method: str) -> None:
    """Raises VocabularyMismatch unless all members share one vocabulary."""
    for tokenizer, name in zip(tokenizers[1:], names[1:], strict=True):
        if found := difference(tokenizers[0], tokenizer):
            raise VocabularyMismatch(
                f"{names[0]} and {name} do not share a vocabulary: {found}; {method!r} needs one shared vocabulary, so use "
                "members of one family, or the methods draft and assistant, which need none."
            )
