"""Results on disk: one folder a cell, append-only and resumable. No torch here.

    <out>/<pair>/<method>/<task>/      ':' is written ',' in folder names
        cell.json      whose cell this is: format, id, identity, pair, method, task, members, published, primary, notes
        samples.jsonl  one `records.Sample` a line, on disk as soon as its document is finished, in the order they finish
        scores.json    list of `records.Score`, replaced as a whole
        run.json       what does not change outputs: seconds, tokens/s, rounds, batch size, device

The identity covers all that changes outputs, and its digest is the key by which a run finds what it has already done.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from cosd_eval.config import digest
from cosd_eval.errors import StoreError
from cosd_eval.records import Metric, Sample, Score

FORMAT = 1
_LINE_ENDS = "\x85\u2028\u2029"
Key = tuple[str, int]  # (lm-eval task, document number): names one document of a cell


@dataclass(frozen=True)
class Description:
    """What cell.json says. identity: JSON-like, nested dicts whose keys name settings. The rest is for readers."""

    pair: str
    method: str
    task: str
    identity: dict[str, Any]
    members: tuple[str, ...] = ()
    published: Mapping[str, str] = field(default_factory=dict)
    primary: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return digest(self.identity)

    def to_json(self) -> dict[str, Any]:
        # through JSON and back, so that tuples compare equal to what is read from disk
        cell: dict[str, Any] = json.loads(json.dumps({"format": FORMAT, "id": self.id, **asdict(self)}))
        return cell


def cell_folder(out: Path, pair: str, method: str, task: str) -> Path:
    return out.joinpath(*(_folder_name(part) for part in (pair, method, task)))


def _folder_name(text: str) -> str:
    return text.replace(":", ",").replace("/", "-")


class CellStore:
    """One cell, open for reading and appending; a context manager that holds the cell's lock.

    Raises StoreError where the folder belongs to other settings, is open in another process, or cannot be written.
    """

    def __init__(self, out: Path, about: Description) -> None:
        self.about = about
        self.folder = cell_folder(out, about.pair, about.method, about.task)
        self._lock = FileLock(self.folder / ".lock", blocking=False)

    def __enter__(self) -> "CellStore":
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout:
            raise StoreError(
                f"{self.folder} is being written by another run: wait for it to end, or choose another --out."
            ) from None
        except OSError as e:
            raise _unwritable(self.folder, e) from None
        try:
            self._claim()
            self._file = open_for_append(self.folder / "samples.jsonl")
            self.samples: dict[Key, Sample] = {key(s): s for s in read_samples(self.folder)}
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._file)
        self._lock.release()

    def _claim(self) -> None:
        """Write cell.json, or check that the one there is ours. Texts for readers (notes, published) are brought up to date."""
        ours, path = self.about.to_json(), self.folder / "cell.json"
        if path.exists():
            theirs = read_json(path)
            if not isinstance(theirs, dict) or theirs.get("format") != FORMAT:
                raise StoreError(f"{path} was not written by this version of cosd-eval: choose another --out.")
            if theirs.get("id") != ours["id"]:
                changed = ", ".join(differences(theirs.get("identity", {}), ours["identity"]))
                raise StoreError(
                    f"{self.folder} holds samples made with other settings ({changed}): "
                    "choose another --out, or remove that folder."
                )
            if theirs == ours:
                return
        write_json(path, ours)

    def describe(self, *, notes: tuple[str, ...], primary: Mapping[str, str]) -> None:
        """Bring the texts for readers up to date, once the scores are known."""
        self.about = replace(self.about, notes=notes, primary=primary)
        write_json(self.folder / "cell.json", self.about.to_json())

    def append(self, sample: Sample) -> None:
        """Put one finished document on disk. A line that cannot be written whole is taken back."""
        text = json.dumps(sample.to_json(), ensure_ascii=False)
        for odd in _LINE_ENDS:  # valid within a JSON string, but many readers would see a new line
            text = text.replace(odd, f"\\u{ord(odd):04x}")
        line = f"{text}\n".encode(errors="backslashreplace")  # a lone surrogate becomes its JSON escape
        before = os.fstat(self._file).st_size
        try:
            written = 0
            while written < len(line):
                written += os.write(self._file, line[written:])
            os.fsync(self._file)
        except OSError as e:
            os.ftruncate(self._file, before)
            raise _unwritable(self.folder, e) from None
        self.samples[key(sample)] = sample

    def write_scores(self, scores: Sequence[Score]) -> None:
        write_json(self.folder / "scores.json", [asdict(s) for s in scores])

    def read_run(self) -> dict[str, Any]:
        path = self.folder / "run.json"
        content = read_json(path) if path.exists() else {}
        return content if isinstance(content, dict) else {}

    def write_run(self, run: Mapping[str, Any]) -> None:
        write_json(self.folder / "run.json", dict(run))


def key(sample: Sample) -> Key:
    return sample.subtask, sample.doc_id


def open_for_append(path: Path) -> int:
    """A file descriptor at the end of `path`, after a last line cut short by a kill has been removed."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.ftruncate(file, whole)
    except OSError as e:
        raise _unwritable(path, e) from None
    return file


def read_samples(folder: Path) -> Iterator[Sample]:
    """The samples of a cell, in the order they finished; a cut last line is passed over. Raises StoreError."""
    path = folder / "samples.jsonl"
    if not path.exists():
        return
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith("\n"):
                return
            try:
                yield sample_from_json(json.loads(line))
            except (ValueError, TypeError, KeyError):
                raise StoreError(f"{path}, line {number}, is not a sample: remove that line and run again.") from None


def sample_from_json(content: Mapping[str, Any]) -> Sample:
    return Sample(**{**content, "metrics": [Metric(**m) for m in content["metrics"]]})


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise StoreError(f"{path} cannot be read ({e}): restore it, or remove its folder and run again.") from None


def write_json(path: Path, content: Any) -> None:
    """Replace a file as a whole: a reader, or a kill, sees the old one or the new one."""
    new = path.with_name(path.name + ".new")
    try:
        with new.open("w", encoding="utf-8") as file:
            json.dump(content, file, indent=1, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as e:
        new.unlink(missing_ok=True)
        raise _unwritable(path, e) from None


def differences(theirs: Any, ours: Any, name: str = "") -> list[str]:
    """The dotted names of the settings in which two identities differ."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        names = sorted({*theirs, *ours})
        return [d for n in names for d in differences(theirs.get(n), ours.get(n), f"{name}.{n}" if name else n)]
    return [] if theirs == ours else [name]


def _unwritable(path: Path, e: OSError) -> StoreError:
    return StoreError(
        f"{path} cannot be written ({e.strerror or e}): make room or choose another --out; "
        "what was finished is kept, and the same command goes on from there."
    )
