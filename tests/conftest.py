"""What every test needs: no network, few threads, and the real data and models where they are at hand."""

import os
from pathlib import Path

# Before any test module imports a library that reads them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Two test processes on two cores: threads of their own would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Settings of the person who runs the tests must not decide how they end.
for name in ("COSD_MODEL_DIR", "COSD_DATA_DIR"):
    os.environ.pop(name, None)

import pytest  # noqa: E402


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real benchmark items, laid out as `--data-dir` wants them; the test is skipped where they are not at hand."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real benchmark items are not at hand (../shared/data)")
    return folder


@pytest.fixture(scope="session")
def model_dir() -> Path:
    """Real models in folders named as `--model-dir` wants them; the test is skipped where they are not at hand."""
    folder = Path.home() / ".cache" / "cosd-models"
    if not folder.is_dir():
        pytest.skip("real models are not at hand (~/.cache/cosd-models)")
    return folder
