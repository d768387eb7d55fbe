"""HumanEval through our scorer: every canonical solution passes, and no empty one does."""

from pathlib import Path

import pytest

from cosd_eval.errors import UnsafeCodeError
from cosd_eval.evaluation import catalog, sandbox
from cosd_eval.evaluation.programs import ProgramScorer, build_programs, run_confined


@pytest.mark.slow
def test_canonical_solutions_score_one_and_empty_ones_nothing(data_dir: Path) -> None:
    try:
        sandbox.require_confinement()
    except UnsafeCodeError as e:
        pytest.skip(str(e))
    scorer = ProgramScorer(run_confined)
    documents = catalog.read_split(data_dir, catalog.KNOWN["humaneval"], "test")

    def score(responses: list[str]) -> list[float]:
        programs = build_programs([[r] for r in responses], documents)
        return [scorer(doc, [program])["pass@1"] for doc, program in zip(documents, programs, strict=True)]

    assert len(documents) == 164
    assert score([d["canonical_solution"] for d in documents]) == [1.0] * 164
    assert score([""] * 164) == [0.0] * 164
