"""CoSD-Tree and Co-LLM around a run: training them for a pair, the defaults kept beside the results, and what they have seen."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cosd_eval.config import CoLLMMethod, MethodSpec, TreeMethod
from cosd_eval.decoding.learned import KINDS, read_json
from cosd_eval.decoding.loop import Options
from cosd_eval.decoding.pair import Pair, require_two
from cosd_eval.errors import ConfigError, StoreError
from cosd_eval.evaluation import documents
from cosd_eval.training import deferral, tree
from cosd_eval.training.examples import observe

DEFERRAL_SAMPLES = 200


@dataclass(frozen=True)
class Training:
    """What to learn from. samples: None is the pair's own default."""

    data: str
    samples: int | None
    seed: int = 0
    data_dir: Path | None = None
    options: Options = field(default_factory=Options)


def train_tree(
    pair: Pair, training: Training, out: Path, hyperparameters: Mapping[str, Any] = tree.HYPERPARAMETERS
) -> dict[str, Any]:
    """Train, write `out`, and return what it says. Raises UserErrors."""
    pair.require_shared("cosd-tree")
    found, source = documents.examples(training.data, training.samples, training.seed, training.data_dir)
    nodes, counts = tree.fit(observe(pair.members, found, training.options), training.seed, hyperparameters)
    with _writing(out):
        tree.save(
            out,
            nodes,
            members=pair.names,
            pair=pair.identity(),
            source=source,
            counts=counts,
            seed=training.seed,
            hyperparameters=hyperparameters,
        )
    return read(out)


def train_deferral(pair: Pair, training: Training, out: Path) -> dict[str, Any]:
    """Train, write the folder `out`, and return what it says. Raises UserErrors."""
    pair.require_shared("co-llm")
    require_two(len(pair.members))
    found, source = documents.examples(training.data, training.samples, training.seed, training.data_dir)
    layer, told = deferral.fit(observe(pair.members, found, training.options), training.seed)
    with _writing(out):
        deferral.save(out, layer, members=pair.names, pair=pair.identity(), source=source, told=told, seed=training.seed)
    return read(out)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turns a folder that cannot be written into one sentence."""
    try:
        yield
    except OSError as e:
        raise StoreError(f"{path} cannot be written ({e.strerror or e}): choose another --out.") from None


def read(path: Path) -> dict[str, Any]:
    """What training wrote: a tree's JSON file, or the JSON in a deferral folder. Raises ConfigError."""
    return read_json(path / "deferral.json" if path.is_dir() else path, *KINDS)


def resolved(pair: Pair, method: MethodSpec, out: Path, data_dir: Path | None, options: Options) -> MethodSpec:
    """The method with what it has learned: where none is named, the pair's default is trained and kept in `out`/PAIR/learned.

    CoSD-Tree's is the paper's: 3 random AlpacaEval samples, seed 0 (built-in pairs name their own data). Raises UserErrors.
    """
    folder = out / pair.spec.name / "learned"
    match method:
        case TreeMethod(tree=None):
            file = folder / "cosd-tree.json"
            if not _fits(file, pair):
                train_tree(pair, Training(pair.spec.training_data, pair.spec.training_samples, 0, data_dir, options), file)
            return TreeMethod(tree=str(file))
        case CoLLMMethod(deferral=None, eta=eta):
            where = folder / "co-llm"
            if not _fits(where, pair):
                data = pair.spec.training_data
                train_deferral(pair, Training(data, DEFERRAL_SAMPLES, 0, data_dir, options), where)
            return CoLLMMethod(deferral=str(where), eta=eta)
    return method


def _fits(path: Path, pair: Pair) -> bool:
    """Whether something learned is there already, for these very members."""
    file = path / "deferral.json" if path.name == "co-llm" else path
    return file.exists() and read(path)["pair"] == json.loads(json.dumps(pair.identity()))


def learned_from(method: MethodSpec) -> dict[str, Any] | None:
    """Where a method's tree or layer comes from: `training.examples.Source` as a dict; None if it has none."""
    path = method.tree if isinstance(method, TreeMethod) else method.deferral if isinstance(method, CoLLMMethod) else None
    return None if path is None else dict(read(Path(path))["source"])


def judge(method: MethodSpec, label: str, tasks: Mapping[str, Any], allow_seen: bool) -> tuple[str, ...]:
    """What a reader must know of a learned method on these tasks. Raises ConfigError if it saw the very documents."""
    source = learned_from(method)
    if source is None:
        return ()
    families = {documents.family(name) for name in tasks}
    notes = [f"{label} learned from {source['samples']} samples of {source['name']} (seed {source['seed']})"]
    seen = set(source["keys"])
    again = sum(documents.key_of(task, doc) in seen for task in tasks.values() for doc in task.eval_docs)
    if again and not allow_seen:
        raise ConfigError(
            f"{label} was trained on {again} of the documents evaluated here: train it on another split, or agree "
            "to the leakage with --allow-seen-documents."
        )
    if families & set(source["tasks"]):
        notes.append(f"TRAINED IN-DOMAIN: {label} learned from {source['name']}")
    if again:
        notes.append(f"LEAKAGE: {label} was trained on {again} of the evaluated documents")
    return tuple(notes)
