"""What a table is asked for."""

from dataclasses import dataclass

from cosd_eval.analysis.results import Results


@dataclass(frozen=True)
class Request:
    """pairs: by name, as asked for; empty for the table's own. published: with the paper's figures, of this edition."""

    results: Results
    pairs: tuple[str, ...] = ()
    published: bool = False
    edition: str = "icml2025"

    @property
    def shown_pairs(self) -> list[str]:
        """The pairs asked for, else all there are."""
        return list(self.pairs) or self.results.pairs
