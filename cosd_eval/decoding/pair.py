"""A pair of members ready to decode: loading, and the calls that most users need."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from cosd_eval import config
from cosd_eval.config import MemberSpec, MethodSpec, PairSpec
from cosd_eval.decoding import methods, vocabulary
from cosd_eval.decoding.learned import read_deferral, read_tree
from cosd_eval.decoding.loop import Loop, Options, Request
from cosd_eval.decoding.member import Member, Tokenizer
from cosd_eval.decoding.scoring import ScoreRequest, score
from cosd_eval.errors import ConfigError, ModelError
from cosd_eval.organisms import builtin_models
from cosd_eval.records import Decoded, Scored

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Pair:
    """Two or more members; member 0 is the draft.

    >>> Pair.load("complementary").decode(["..."], method="cosd-rule", max_new_tokens=64)[0].text
    """

    def __init__(self, spec: PairSpec, members: Sequence[Member], fingerprints: Sequence[dict[str, Any]]) -> None:
        self.spec, self.members, self.fingerprints = spec, list(members), list(fingerprints)
        self.shared = all(vocabulary.difference(members[0].tokenizer, m.tokenizer) is None for m in members[1:])
        if self.shared:
            width = min(m.vocabulary for m in members)
            for member in members:
                member.vocabulary = width

    @classmethod
    def load(
        cls,
        pair: str | Path | PairSpec,
        *,
        model_dir: str | Path | None = None,
        dtype: Literal["float32", "bfloat16", "float16"] | str | None = None,
        device: str | None = None,
    ) -> "Pair":
        """A shipped pair by name, a YAML file, or a spec. Raises UnknownName, ConfigError, ModelError."""
        spec = pair if isinstance(pair, PairSpec) else config.load_pair(str(pair))
        folder = Path(model_dir or os.environ["COSD_MODEL_DIR"]) if model_dir or os.environ.get("COSD_MODEL_DIR") else None
        if folder is not None and not folder.is_dir():
            raise ModelError(f"There is no model folder {folder}: check --model-dir or COSD_MODEL_DIR.")
        if dtype is not None and dtype not in DTYPES:
            raise ConfigError(f"dtype {dtype!r} is not known: choose from {', '.join(DTYPES)}.")
        loaded = [load_member(m, folder, dtype, device) for m in spec.members]
        return cls(spec, [m for m, _ in loaded], [f for _, f in loaded])

    @property
    def tokenizer(self) -> Tokenizer:
        return self.members[0].tokenizer

    @property
    def max_length(self) -> int:
        return min(m.max_length for m in self.members)

    @property
    def names(self) -> list[str]:
        return [m.name for m in self.members]

    def method(self, spec: MethodSpec) -> methods.Method:
        """The method that a spec means for these members. Raises ConfigError, VocabularyMismatch."""
        built = build_method(spec, len(self.members))
        if len(built.members) > 1:
            self.require_shared(spec.method)
        return built

    def require_shared(self, method: str) -> None:
        """Raises VocabularyMismatch unless all members share one vocabulary."""
        if not self.shared:
            vocabulary.require_shared([m.tokenizer for m in self.members], self.names, method)

    def tokenizer_for(self, spec: MethodSpec) -> Tokenizer:
        """The tokenizer of the members that a method uses."""
        return self.members[self.method(spec).drafter].tokenizer

    def decode(
        self,
        prompts: Sequence[str],
        *,
        method: str | MethodSpec = "cosd-rule",
        max_new_tokens: int = 256,
        stop: Sequence[str] = (),
        options: Options = Options(),
    ) -> list[Decoded]:
        """Continue each prompt greedily with one method, given as on the command line (`cosd-rule:alpha=0.25`)."""
        requests = [Request(p, max_new_tokens, tuple(stop)) for p in prompts]
        return self.generate(requests, parse_one(method) if isinstance(method, str) else method, options)

    def generate(
        self,
        requests: Sequence[Request],
        method: MethodSpec,
        options: Options = Options(),
        on_finish: Callable[[int, Decoded], None] | None = None,
    ) -> list[Decoded]:
        """on_finish(index, result) is called as soon as a row is finished, in any order."""
        if not requests:
            return []
        built = self.method(method)
        tokenizer = self.members[built.drafter].tokenizer
        return Loop(self.members, built, options, tokenizer.encode, on_finish).run(requests)

    def score(
        self,
        requests: Sequence[ScoreRequest],
        methods: Sequence[MethodSpec],
        options: Options = Options(),
        on_finish: Callable[[int, list[Scored]], None] | None = None,
    ) -> list[list[Scored]]:
        """[request][method]: one teacher-forced pass per member serves all methods."""
        if not requests:
            return []
        return score(self.members, [self.method(m) for m in methods], requests, options, on_finish)

    def identity(self) -> dict[str, Any]:
        """What there is in the members that changes outputs: revisions or fingerprints, dtype, adapters."""
        return {"name": self.spec.name, "members": self.fingerprints}

    def memory(self) -> list[dict[str, Any]]:
        """Per member: parameters, bytes of weights, bytes of key/value rows for one token, context length."""
        return [
            {
                "member": m.name,
                "parameters": m.parameters,
                "weight_bytes": m.weight_bytes,
                "row_bytes_per_token": m.row_bytes_per_token,
                "max_length": m.max_length,
                "dtype": str(m.dtype).removeprefix("torch."),
                "device": str(m.device),
            }
            for m in self.members
        ]


def parse_one(text: str) -> MethodSpec:
    specs = config.parse_method(text)
    if len(specs) != 1:
        raise ConfigError(f"{text!r} means {len(specs)} methods; give one.")
    return specs[0]


def build_method(spec: MethodSpec, members: int) -> methods.Method:
    """Raises ConfigError where a spec does not fit the number of members."""
    match spec:
        case config.DraftMethod():
            return methods.Alone(0)
        case config.AssistantMethod(index=index):
            if (index or 1) >= members:
                raise ConfigError(f"assistant:index={index}: this pair has {members - 1} assistants, so use 1 to {members - 1}.")
            return methods.Alone(index or members - 1)
        case config.SpeculativeMethod():
            return methods.Speculative(members)
        case config.AverageMethod(weights=weights):
            if weights is not None and (len(weights) != members or min(weights) < 0 or sum(weights) <= 0):
                raise ConfigError(
                    f"average:weights needs {members} numbers of at least 0, one a member, like {'/'.join(['1'] * members)}."
                )
            return methods.Average(weights or [1.0] * members)
        case config.RuleMethod(alpha=alpha, beta=beta):
            return methods.Rule(alpha, beta, members)
        case config.TreeMethod(tree=tree):
            if tree is None:
                raise ConfigError("cosd-tree needs a tree: train one with `cosd-eval train tree`, then cosd-tree:tree=FILE.")
            return methods.Tree(read_tree(Path(tree), members), members)
        case config.CoLLMMethod(deferral=deferral, eta=eta):
            require_two(members)
            if deferral is None:
                raise ConfigError("co-llm needs a layer: train one with `cosd-eval train co-llm`, then co-llm:deferral=FOLDER.")
            weight, bias, chosen = read_deferral(Path(deferral))
            return methods.CoLLM(weight, bias, chosen if eta is None else eta)
    raise ConfigError(f"Method {spec!r} is not known.")


def require_two(members: int) -> None:
    """Raises ConfigError where Co-LLM is asked of more than a draft and one assistant."""
    if members != 2:
        raise ConfigError(
            f"co-llm takes a draft and one assistant, and this pair has {members} members: choose a pair of two members."
        )


def locate(model: str, folder: Path | None) -> str:
    """Where a model is: a folder of --model-dir named like its last path part in lower case, a model that comes with this
    package (`organisms/NAME`), a path, or else the hub id itself."""
    if folder is not None and (local := folder / model.rstrip("/").split("/")[-1].lower()).is_dir():
        return str(local)
    if model in (builtin := builtin_models()):
        return str(builtin[model])
    return str(Path(model).expanduser()) if Path(model).expanduser().exists() else model


def load_member(spec: MemberSpec, folder: Path | None, dtype: str | None, device: str | None) -> tuple[Member, dict[str, Any]]:
    """A member and the fingerprint of what was loaded. Raises ModelError."""
    where = locate(spec.model, folder)
    model = load_plain(spec, folder, dtype, device)
    with _told(spec.model, where):
        tokenizer = AutoTokenizer.from_pretrained(where, **_common(spec))
    name = spec.model.rstrip("/").split("/")[-1]
    member = Member(model, tokenizer, name)
    return member, {
        "model": spec.model,
        "revision": getattr(model.config, "_commit_hash", None) or fingerprint(Path(where)),
        "dtype": str(member.dtype).removeprefix("torch."),
        "adapter": spec.adapter and {"name": spec.adapter, "revision": fingerprint(Path(locate(spec.adapter, folder)))},
        "gguf": spec.gguf,
        "arguments": spec.arguments,
    }


def load_plain(spec: MemberSpec, folder: Path | None, dtype: str | None, device: str | None) -> Any:
    """A transformers model as it comes. Safetensors only, no code from the hub. Raises ModelError."""
    where = locate(spec.model, folder)
    arguments: dict[str, Any] = {
        **_common(spec),
        "dtype": DTYPES.get(dtype or spec.dtype, "auto"),
        "device_map": spec.device_map,
        **({} if spec.gguf else {"use_safetensors": True}),
        **spec.arguments,
    }
    with _told(spec.model, where):
        model = AutoModelForCausalLM.from_pretrained(where, **arguments)
        if spec.adapter:
            model = _with_adapter(model, locate(spec.adapter, folder))
    place = device or spec.device
    if place and not spec.device_map:
        try:
            model = model.to(place)  # type: ignore[arg-type]
        except (RuntimeError, AssertionError) as e:
            reason = str(e).splitlines()[0]
            raise ModelError(f"{spec.model} does not fit on device {place!r} ({reason}): choose another --device.") from e
    return model.eval()


def _common(spec: MemberSpec) -> dict[str, Any]:
    """What both tokenizer and model are loaded with."""
    common: dict[str, Any] = {"revision": spec.revision, "trust_remote_code": False}
    return {**common, "gguf_file": spec.gguf} if spec.gguf else common


@contextmanager
def _told(name: str, where: str) -> Iterator[None]:
    """Turns the many ways in which loading fails into one sentence."""
    try:
        yield
    except (OSError, ValueError, ImportError, KeyError, RuntimeError) as e:
        reason = str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
        raise ModelError(
            f"{name} cannot be loaded from {where} ({reason}): give --model-dir a folder with it, or check the name."
        ) from e


def _with_adapter(model: Any, where: str) -> Any:
    """A PEFT adapter, merged into the weights: the same sums, without its detour in every layer."""
    try:
        from peft import PeftModel
    except ImportError as e:
        raise ModelError("This pair has a PEFT adapter: install it with `pip install 'cosd-eval[peft]'`.") from e
    return PeftModel.from_pretrained(model, where).merge_and_unload()


def fingerprint(folder: Path) -> str | None:
    """A digest of a local model: its small files whole, and of each large one its size and 64 samples of 64 KiB."""
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".json", ".safetensors", ".gguf", ".model")):
        size = path.stat().st_size
        digest.update(json.dumps([path.name, size]).encode())
        with path.open("rb") as f:
            if size <= 1 << 24:
                digest.update(f.read())
                continue
            for i in range(64):
                f.seek(i * (size - (1 << 16)) // 63)
                digest.update(f.read(1 << 16))
    return digest.hexdigest()[:16]
