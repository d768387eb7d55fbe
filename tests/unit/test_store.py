import errno
import json
import os
from pathlib import Path

import pytest

from cosd_eval.errors import StoreError
from cosd_eval.evaluation import store
from cosd_eval.evaluation.store import CellStore, Description, cell_folder, differences, read_samples
from cosd_eval.records import Metric, Sample, Score


def about(**identity: object) -> Description:
    return Description("pair", "cosd-rule:alpha=0.25", "gsm8k", {"method": {"alpha": 0.25}, "seed": 1, **identity}, ("a", "b"))


def sample(number: int, text: str = "so") -> Sample:
    output = {"kind": "generate", "text": text, "token_ids": [1, 2]}
    return Sample("gsm8k", "gsm8k", number, "hash", "prompt\n", "4", [output], [Metric("exact_match", "none", 1.0)], 0.1)


def test_a_sample_is_on_disk_before_the_cell_is_closed(tmp_path: Path) -> None:
    with CellStore(tmp_path, about()) as cell:
        cell.append(sample(7))
        assert [s.doc_id for s in read_samples(cell.folder)] == [7]


def test_samples_come_back_as_they_were(tmp_path: Path) -> None:
    odd = sample(0, "ümlaut \u2028 \ud800 \r\n \0 end")
    with CellStore(tmp_path, about()) as cell:
        cell.append(odd)
    with CellStore(tmp_path, about()) as cell:
        assert list(cell.samples.values()) == [odd]
    assert len((cell.folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()) == 1  # whatever a reader calls a line


def test_folder_names_have_no_colon(tmp_path: Path) -> None:
    assert cell_folder(tmp_path, "p", "cosd-rule:alpha=1,beta=0", "mmlu:generate") == (
        tmp_path / "p" / "cosd-rule,alpha=1,beta=0" / "mmlu,generate"
    )


def test_a_last_line_cut_by_a_kill_is_dropped_and_written_again(tmp_path: Path) -> None:
    with CellStore(tmp_path, about()) as cell:
        cell.append(sample(0))
        cell.append(sample(1))
    path = cell.folder / "samples.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    assert [s.doc_id for s in read_samples(cell.folder)] == [0]
    with CellStore(tmp_path, about()) as cell:
        assert set(cell.samples) == {("gsm8k", 0)}
        cell.append(sample(1))
    assert [json.loads(line)["doc_id"] for line in path.read_text().splitlines()] == [0, 1]


def test_a_broken_line_within_is_named(tmp_path: Path) -> None:
    with CellStore(tmp_path, about()) as cell:
        cell.append(sample(0))
    path = cell.folder / "samples.jsonl"
    path.write_text("{broken\n" + path.read_text())
    with pytest.raises(StoreError, match="line 1"), CellStore(tmp_path, about()):
        pass


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    with CellStore(tmp_path, about()):
        pass
    with pytest.raises(StoreError, match=r"other settings \(seed\): choose another --out"):
        CellStore(tmp_path, about(seed=2)).__enter__()
    with CellStore(tmp_path, about()):  # the refusal holds no lock
        pass


def test_differences_are_dotted() -> None:
    assert differences({"a": {"b": 1, "c": [1]}, "d": 2}, {"a": {"b": 1, "c": [2]}, "e": 2}) == ["a.c", "d", "e"]


def test_texts_for_readers_are_brought_up_to_date(tmp_path: Path) -> None:
    with CellStore(tmp_path, about()) as cell:
        cell.describe(notes=("plain mean",), primary={"metric": "acc", "filter": "none"})
    written = json.loads((cell.folder / "cell.json").read_text())
    assert written["notes"] == ["plain mean"] and written["format"] == 1
    assert written["id"] == about().id and written["members"] == ["a", "b"]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with CellStore(tmp_path, about()), pytest.raises(StoreError, match="another run"):
        CellStore(tmp_path, about()).__enter__()


def test_a_full_disk_takes_back_the_part_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write

    def full(file: int, data: bytes) -> int:
        if len(data) > 10:
            return real(file, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with CellStore(tmp_path, about()) as cell:
        cell.append(sample(0))
        with monkeypatch.context() as patch:
            patch.setattr(store.os, "write", lambda file, data: full(file, data) if len(data) > 20 else full(file, b"x"))
            with pytest.raises(StoreError, match=r"No space left on device.*make room"):
                cell.append(sample(1))
        cell.append(sample(2))
    assert [s.doc_id for s in read_samples(cell.folder)] == [0, 2]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="cannot be written"):
        CellStore(tmp_path, about()).__enter__()


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        CellStore(tmp_path / "out", about()).__enter__()


def test_scores_are_replaced_as_a_whole(tmp_path: Path) -> None:
    with CellStore(tmp_path, about()) as cell:
        cell.write_scores([Score(None, "acc", "none", 0.5, 0.1, 4)])
        cell.write_scores([Score(None, "acc", "none", 0.6, None, 5)])
        assert json.loads((cell.folder / "scores.json").read_text())[0]["n"] == 5
        assert not list(cell.folder.glob("*.new"))
