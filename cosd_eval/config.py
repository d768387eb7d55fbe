"""Pairs, methods and suites: frozen models that refuse unknown keys; YAML in, a stable identity out. No torch here."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from cosd_eval.errors import ConfigError, UnknownName


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MemberSpec(Strict):
    """One language model of a pair.

    model: hub id or folder. inferred: the paper names the model but gives no hub id; this one is our reading.
    """

    model: str
    revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str | None = None
    device_map: str | dict[str, int | str] | None = None
    adapter: str | None = Field(default=None, description="PEFT adapter: hub id or folder")
    gguf: str | None = Field(default=None, description="GGUF file inside the model's folder or repository")
    arguments: dict[str, Any] = Field(default_factory=dict, description="extra from_pretrained arguments")
    published_as: str | None = Field(default=None, description="the name the paper uses")
    inferred: bool = False


class PairSpec(Strict):
    """A named set of members. `published` says where each edition of the paper lists it."""

    name: str
    scenario: str
    draft: MemberSpec
    assistants: tuple[MemberSpec, ...] = Field(min_length=1)
    aliases: tuple[str, ...] = ()
    published: dict[Literal["icml2025", "iclr2025"], str] = Field(default_factory=dict)
    note: str = ""
    training_data: str = Field(default="alpaca_eval", description="what a tree or deferral layer learns from if none is given")
    training_samples: int = Field(default=3, ge=1)

    @property
    def members(self) -> tuple[MemberSpec, ...]:
        return (self.draft, *self.assistants)


class DraftMethod(Strict):
    """argmax of the draft alone."""

    method: Literal["draft"] = "draft"


class AssistantMethod(Strict):
    """argmax of one assistant alone (the last one unless `index`, 1-based, says otherwise)."""

    method: Literal["assistant"] = "assistant"
    index: int | None = Field(default=None, ge=1)


class SpeculativeMethod(Strict):
    """Speculative decoding (Leviathan et al. 2023, alg. 1). The last assistant is the target."""

    method: Literal["speculative"] = "speculative"


class AverageMethod(Strict):
    """argmax of the members' weighted mean distribution. weights: one a member, draft first; equal if not given."""

    method: Literal["average"] = "average"
    weights: tuple[float, ...] | None = None


class RuleMethod(Strict):
    """CoSD-Rule (CoSD eq. 4-6, alg. 1)."""

    method: Literal["cosd-rule"] = "cosd-rule"
    alpha: float = Field(default=0.5, ge=0)
    beta: float = Field(default=0.5, ge=0)


class TreeMethod(Strict):
    """CoSD-Tree (CoSD §3.2). tree: a file written by `cosd-eval train tree`; none: the paper's default is trained."""

    method: Literal["cosd-tree"] = "cosd-tree"
    tree: str | None = None


class CoLLMMethod(Strict):
    """Co-LLM (Shen et al. 2024). deferral: a folder written by `cosd-eval train co-llm`; eta overrides its threshold."""

    method: Literal["co-llm"] = "co-llm"
    deferral: str | None = None
    eta: float | None = Field(default=None, ge=0, le=1)


MethodSpec = Annotated[
    DraftMethod | AssistantMethod | SpeculativeMethod | AverageMethod | RuleMethod | TreeMethod | CoLLMMethod,
    Field(discriminator="method"),
]
_METHOD: TypeAdapter[MethodSpec] = TypeAdapter(MethodSpec)


class SuiteSpec(Strict):
    """A named list of task names."""

    name: str
    tasks: tuple[str, ...]
    note: str = ""


def method_label(spec: MethodSpec) -> str:
    """The method as one would type it: `cosd-rule` or, where a parameter is not its default, `cosd-rule:alpha=0.25`."""
    set_here = {k: v for k, v in spec.model_dump(exclude_defaults=True).items() if k != "method"}
    for name in {"tree", "deferral"} & set_here.keys():
        set_here[name] = Path(set_here[name]).stem  # where it lies is nobody's business; the identity holds its content
    words = ",".join(f"{k}={_plain(v)}" for k, v in set_here.items())
    return f"{spec.method}:{words}" if words else spec.method


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return "/".join(_plain(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def digest(identity: dict[str, Any]) -> str:
    """A short stable id of a JSON-like dict: the same whatever the order of its keys."""
    text = json.dumps(identity, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def config_folder() -> Path:
    """configs/ of the clone, or the copy that travels inside the wheel."""
    inside = Path(__file__).parent / "configs"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "configs"


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"There is no file {path}: check the path.") from None
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path} cannot be read ({e}): check the file.") from None
    except yaml.YAMLError as e:
        where = getattr(e, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise ConfigError(f"{path}{line} is not valid YAML: correct it ({getattr(e, 'problem', None) or e}).") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} should hold `key: value` lines, not {type(content).__name__}: see configs/ for examples.")
    return content


def _first_problem(error: ValidationError, known: tuple[str, ...]) -> str:
    """The first of pydantic's complaints as `key: what is wrong`, with the nearest known key for a typo.

    Unknown keys come first: a typo in a required key is both unknown and missing, and the typo is what helps.
    """
    import difflib

    problem = min(error.errors(), key=lambda p: p["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in problem["loc"]) or "value"
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        return f"key {key!r} is not known" + (f": did you mean {near[0]!r}?" if near else f": known keys are {', '.join(known)}.")
    if problem["type"] == "missing":
        return f"key {key!r} is missing: add it."
    return f"key {key!r}: {problem['msg']} (found {problem['input']!r}); correct it."


_MEMBER_KEYS = tuple(MemberSpec.model_fields)


def read_pair(path: Path) -> PairSpec:
    """One pair from YAML. Raises ConfigError that names file and key. A relative model folder is taken from the file's."""
    try:
        return PairSpec.model_validate(_read_yaml(path))
    except ValidationError as e:
        raise ConfigError(f"{path}: {_first_problem(e, (*PairSpec.model_fields, *_MEMBER_KEYS))}") from None


def _files(kind: str) -> Iterator[Path]:
    yield from sorted((config_folder() / kind).glob("*.yaml"))


def list_pairs() -> list[PairSpec]:
    return [read_pair(path) for path in _files("pairs")]


SWAPPED = "-swapped"


def swapped(pair: PairSpec) -> PairSpec:
    """The same two members in each other's place (the paper's ablation). Raises ConfigError for more than two."""
    if len(pair.assistants) != 1:
        raise ConfigError(
            f"Pair {pair.name!r} has {len(pair.members)} members, and only two can be swapped: choose another pair."
        )
    (assistant,) = pair.assistants
    name = pair.name + SWAPPED
    return pair.model_copy(
        update={
            "name": name,
            "draft": assistant,
            "assistants": (pair.draft,),
            "aliases": (),
            "published": {},
            "scenario": f"{pair.scenario}, swapped",
        }
    )


def load_pair(name_or_file: str) -> PairSpec:
    """A shipped pair by name or alias, or a YAML file by path; NAME-swapped is the pair with draft and assistant exchanged."""
    if name_or_file.endswith(SWAPPED):
        return swapped(load_pair(name_or_file.removesuffix(SWAPPED)))
    if name_or_file.endswith((".yaml", ".yml")) or os.sep in name_or_file:
        return read_pair(Path(name_or_file))
    pairs = list_pairs()
    for pair in pairs:
        if name_or_file == pair.name or name_or_file in pair.aliases:
            return pair
    raise UnknownName("pair", name_or_file, [p.name for p in pairs], "A path to a YAML file works too.")


def read_method(path: Path) -> MethodSpec:
    return _method(_read_yaml(path), str(path))


def _method(content: dict[str, Any], where: str) -> MethodSpec:
    try:
        return _METHOD.validate_python(content)
    except ValidationError as e:
        name = content.get("method")
        keys = next((tuple(t.model_fields) for t in _METHOD_TYPES if t.model_fields["method"].default == name), ())
        problem = _first_problem(e, keys).replace(f"{name}.", "")
        raise ConfigError(f"{where}: {problem}") from None


_METHOD_TYPES: tuple[type[Strict], ...] = (
    DraftMethod, AssistantMethod, SpeculativeMethod, AverageMethod, RuleMethod, TreeMethod, CoLLMMethod,
)  # fmt: skip


def list_methods() -> dict[str, MethodSpec]:
    """Shipped methods by file name."""
    return {path.stem: read_method(path) for path in _files("methods")}


def parse_method(text: str) -> list[MethodSpec]:
    """`name` or `name:key=value,key=value`; a value `a|b|c` sweeps, several sweeps make a grid, `a/b` is a list.

    Raises UnknownName, ConfigError.
    """
    name, _, words = text.partition(":")
    if name.endswith((".yaml", ".yml")):
        base = read_method(Path(name))
    else:
        shipped = list_methods()
        if name not in shipped:
            raise UnknownName("method", name, shipped)
        base = shipped[name]
    grid: list[dict[str, Any]] = [base.model_dump()]
    for word in filter(None, words.split(",")):
        key, equals, values = word.partition("=")
        if not equals:
            raise ConfigError(f"--method {text}: {word!r} should be key=value; write it like cosd-rule:alpha=0.25,beta=1.")
        grid = [{**cell, key: _value(v)} for cell in grid for v in values.split("|")]
    return [_method(cell, f"--method {text}") for cell in grid]


def _value(text: str) -> Any:
    """A list where all parts are numbers (average:weights=1/2/1); a path otherwise."""
    return tuple(text.split("/")) if "/" in text and all(_is_number(v) for v in text.split("/")) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def list_suites() -> dict[str, SuiteSpec]:
    suites = {}
    for path in _files("suites"):
        try:
            suites[path.stem] = SuiteSpec.model_validate(_read_yaml(path))
        except ValidationError as e:
            raise ConfigError(f"{path}: {_first_problem(e, tuple(SuiteSpec.model_fields))}") from None
    return suites
