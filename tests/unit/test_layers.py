"""The architecture: imports go downward only, and what must start fast imports nothing heavy."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "cosd_eval"
FILES = sorted(PACKAGE.rglob("*.py"))
HEAVY = {"torch", "transformers", "lm_eval", "pandas", "scipy", "statsmodels", "sklearn", "matplotlib", "datasets", "numpy"}

# layer -> the layers (or the one module) it may import, besides itself. Analysis reads stores only, and the settings' names.
ABOVE: dict[str, set[str]] = {
    "errors": set(),
    "records": {"errors"},
    "config": {"errors"},
    "organisms": {"errors", "records", "config"},
    "decoding": {"errors", "records", "config", "organisms"},
    "training": {"errors", "records", "config", "organisms", "decoding"},
    "evaluation": {"errors", "records", "config", "organisms", "decoding", "training"},
    "analysis": {"errors", "records", "config", "evaluation.store"},
}
ABOVE["bench"] = {*ABOVE}
ABOVE["commands"] = {*ABOVE}
ABOVE["cli"] = {*ABOVE}


def imports(file: Path) -> Iterator[str]:
    """Every module that a file imports, inside functions too, by full name (`from a import b` gives a.b)."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_go_downward(file: Path) -> None:
    own = layer(file)
    if own in ("__init__", "__main__"):
        return
    assert own in ABOVE, f"{own} has no place in the map: give it one"
    for module in imports(file):
        if module.startswith("cosd_eval."):
            _, target, *rest = module.split(".")
            if target in ABOVE:  # a name of cosd_eval itself (like __version__) is no layer
                assert target == own or {target, ".".join((target, *rest[:1]))} & ABOVE[own], f"{own} imports {module}"


def test_no_module_is_imported_in_a_circle() -> None:
    names = {".".join(("cosd_eval", *f.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): f for f in FILES}
    graph = {
        name: {m for m in imports(file) for m in (m, m.rpartition(".")[0]) if m in names and m != name}
        for name, file in names.items()
        if name != "cosd_eval"
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name in done:
            return
        # A package's own file may gather what is in its folder, which may not look back.
        for other in graph.get(name, ()):
            if not name.startswith(f"{other}."):
                visit(other, (*path, name))
        done.add(name)

    for name in graph:
        visit(name, ())


def test_there_is_no_drawer_for_odds_and_ends() -> None:
    assert [f for f in FILES if f.stem in ("utils", "util", "helpers", "misc", "common")] == []


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_light_modules_import_no_torch_at_all(file: Path) -> None:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    if parts[0] in ("records", "config", "errors", "analysis") or parts[-1] in ("store", "sandbox"):
        assert not {m.split(".")[0] for m in imports(file)} & {"torch", "transformers", "lm_eval"}


def test_decoding_knows_neither_harness_nor_tables() -> None:
    """It must also run alone on a machine that has only torch and transformers (and what settings are read with)."""
    for file in FILES:
        if layer(file) == "decoding":
            assert not {m.split(".")[0] for m in imports(file)} & {
                "lm_eval",
                "pandas",
                "datasets",
                "scipy",
                "statsmodels",
                "typer",
            }, file


def test_the_light_modules_load_nothing_heavy() -> None:
    modules = "cosd_eval.errors, cosd_eval.records, cosd_eval.config, cosd_eval.evaluation.store, cosd_eval.evaluation.sandbox"
    assert loaded_by(modules) & HEAVY - {"numpy"} == set()


def test_help_is_instant_since_the_command_line_loads_nothing_heavy() -> None:
    assert loaded_by("cosd_eval.cli") & HEAVY == set()


def loaded_by(modules: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after `import modules`."""
    code = f"import sys, {modules}\nprint(' '.join({{m.split('.')[0] for m in sys.modules}}))"
    return set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
        ).stdout.split()
    )


def test_there_are_no_pickles_and_no_remote_code() -> None:
    for file in FILES:
        source = file.read_text(encoding="utf-8")
        assert not {m.split(".")[0] for m in imports(file)} & {"pickle", "cloudpickle", "dill", "joblib", "shelve"}, file
        assert "trust_remote_code=True" not in source, file
        assert "torch.load(" not in source, file
