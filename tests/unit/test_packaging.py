"""What a user gets: a wheel that works from any folder, and documents that agree with the project's settings."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from cosd_eval.config import list_methods, list_pairs, list_suites
from cosd_eval.organisms import builtin_models

ROOT = Path(__file__).parents[2]


def run(*command: str, cwd: Path, path: Path | None = None) -> str:
    environment = {**os.environ, "PYTHONPATH": str(path)} if path else dict(os.environ)
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is not installed (pip install -e '.[dev]')")
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=ROOT)
    [file] = folder.glob("cosd_eval-*.whl")
    return file


def test_the_wheel_holds_all_that_the_program_reads(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for file in (ROOT / "configs").rglob("*.yaml"):
        assert f"cosd_eval/{file.relative_to(ROOT)}" in names
    for folder in builtin_models().values():
        inside = folder.relative_to(ROOT)
        assert {f"{inside}/config.json", f"{inside}/model.safetensors", f"{inside}/tokenizer.json"} <= names
    kinds = (".py", ".yaml", ".json", ".jsonl", ".html", ".css", ".js", ".safetensors")
    for file in (ROOT / "cosd_eval").rglob("*"):
        if file.suffix in kinds and "__pycache__" not in file.parts:
            assert str(file.relative_to(ROOT)) in names
    assert not [n for n in names if n.startswith(("tests/", "configs/", "scripts/")) or n.endswith(".pyc")]


def test_the_installed_wheel_works_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    target, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    install = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", "--target")
    run(sys.executable, *install, str(target), str(wheel), cwd=elsewhere)
    where = "import cosd_eval.config as c; print(c.config_folder())"
    assert run(sys.executable, "-c", where, cwd=elsewhere, path=target).strip() == str(target / "cosd_eval" / "configs")
    command = str(target / "bin" / "cosd-eval")
    listed = run(command, "list", "pairs", cwd=elsewhere, path=target)
    assert all(pair.name in listed for pair in list_pairs())
    assert all(name in run(command, "list", "methods", cwd=elsewhere, path=target) for name in list_methods())


def test_the_built_in_weights_stay_small() -> None:
    sizes = [f.stat().st_size for f in (ROOT / "cosd_eval").rglob("*.safetensors")]
    assert sum(sizes) <= 12e6


def test_the_readme_names_only_what_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.M)
    tables = re.findall(r"^TABLES := (.*)", (ROOT / "Makefile").read_text(), re.M)[0].split()
    for target in re.findall(r"\bmake ([a-z0-9-]+)", text):
        assert target in targets + tables, f"make {target}"
    for pair in re.findall(r"--pair ([a-z][a-z0-9-]*)(?!\S*\.yaml)", text):
        assert pair in {p.name for p in list_pairs()}, f"--pair {pair}"
    for methods in re.findall(r"--methods ([a-z,-]+)", text):
        assert set(methods.split(",")) <= set(list_methods()), methods
    for suite in re.findall(r"--tasks (paper|tiny|builtin[a-z-]*)", text):
        assert suite in list_suites()
    for file in re.findall(r"\]\((?!http|#)([^)]+)\)", text):
        assert (ROOT / file).exists(), file


def test_version_and_licence_are_the_same_everywhere() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    [version] = re.findall(r'^version = "(.*)"', project, re.M)
    assert citation["version"] == version
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()
    assert citation["license"] == "Apache-2.0" and 'license = "Apache-2.0"' in project
    assert "Apache License" in (ROOT / "LICENSE").read_text()
