"""The measuring scripts run from end to end, small; the GPU script with torch and transformers alone."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"
OTHERS = ("pydantic", "typer", "lm_eval", "datasets", "sklearn", "statsmodels")  # what transformers does not bring along


def test_gpu_script_needs_torch_and_transformers_alone(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    arguments = [
        "--tiny",
        "--device",
        "cpu",
        "--batches",
        "1,2",
        "--max-new-tokens",
        "8",
        "--prompt-tokens",
        "20",
        "--out",
        str(out),
    ]
    code = (
        "import runpy, sys\n"
        f"sys.modules.update(dict.fromkeys({OTHERS!r}))\n"  # importing any of them now raises
        f"sys.argv = {['gpu.py', *arguments]!r}\n"
        f"runpy.run_path({str(SCRIPTS / 'gpu.py')!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = {(r["system"], r["batch"]): r for r in json.loads(out.read_text())["rows"]}
    assert rows["cosd-rule, replayed", 2]["tokens"] == 4 * 8
    assert all(r["tokens_per_second"] > 0 for r in rows.values())
    assert rows["average", 1]["passes"] > rows["draft", 1]["passes"]
    assert "cosd-rule, replayed" in out.with_suffix(".txt").read_text()


def test_growth_script(tmp_path: Path) -> None:
    out = tmp_path / "growth.json"
    arguments = ["--pair", "capacity", "--lengths", "8,16", "--members", "2,3", "--out", str(out)]
    done = subprocess.run([sys.executable, SCRIPTS / "growth.py", *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())["rows"]
    assert [(r["members"], r["method"], r["tokens"]) for r in rows] == [
        (2, "cosd-rule", 8), (2, "cosd-rule", 16), (2, "cosd-rule", 8), (2, "average", 8), (3, "cosd-rule", 8), (3, "average", 8),
    ]  # fmt: skip
    two, three = (r["read_by_assistants_per_token"] for r in rows if r["method"] == "average")
    assert three == 2 * two > 0
