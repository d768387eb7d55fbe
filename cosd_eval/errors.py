"""What a user can get wrong. Each error says, in one sentence, what happened and what to do about it.

Only `UserError` and its children are shown without a traceback (exit code 2); anything else is our fault.
"""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in what was asked for. The message is one clear sentence that ends with what to do."""


class UnknownName(UserError):
    """A pair, method, task, suite or table that does not exist; suggests the nearest that does."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        suggestion = f"did you mean {near[0]!r}?" if near else f"choose from: {', '.join(known) or 'none'}."
        super().__init__(f"Unknown {kind} {name!r}: {suggestion}{' ' + hint if hint else ''}")


class ConfigError(UserError):
    """A YAML file or a command-line parameter that does not say what it should."""


class DataMissing(UserError):
    """A benchmark file that is not where it should be."""


class ModelError(UserError):
    """A model that cannot be loaded, or that our attention cannot run."""


class VocabularyMismatch(UserError):
    """Members whose tokenizers differ, under a method that needs one vocabulary."""


class PromptTooLong(UserError):
    """A prompt that leaves no room in a member's context."""


class NumericalError(UserError):
    """Logits that are not numbers."""


class StoreError(UserError):
    """A results folder that cannot be written, read, or belongs to other settings."""


class UnsafeCodeError(UserError):
    """Generated code that may not run: no consent, or no way to confine it."""
