"""Test cases are set aside, never loaded in training, and each evaluation of them is counted."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kitsseg.data.case import Case
from kitsseg.data.slices.augment import Augmentation
from kitsseg.data.slices.datamodule import SliceDataModule
from kitsseg.data.sources.table import Table
from kitsseg.data.split import KFold, Split
from kitsseg.data.store.store import Store
from kitsseg.models.window import AutoWindow
from kitsseg.training.task import fit_window
from tests.helpers.evaluating import evaluate, predicted, record
from tests.helpers.predicting import predict, rows
from tests.helpers.sources import link, table

__all__ = ["predicted"]  # a fixture


@pytest.fixture
def cases_csv(block_cases: list[Case], tmp_path: Path) -> Path:
    """Six cases of six patients, one of which the table itself sets aside."""
    links = {case.id: link(case.label, tmp_path / "links" / f"{case.id}.nii.gz") for case in block_cases}
    patients = ["a,", "b,", "c,", "d,", "e,", "f,test"]
    found = [[c.id, c.image, links[c.id], p] for c, p in zip(block_cases, patients, strict=True)]
    return table(tmp_path / "cases.csv", found, "id,image,label,patient,split")


def open_fold(path: Path, prepared: Path, fold: int) -> SliceDataModule:
    split = KFold(folds=3, fold=fold, test=0.2)
    data = SliceDataModule(path, Table(), split, Augmentation([]), prepared, batch_size=4)
    data.prepare_data()
    data.setup()
    return data


def test_test_cases_are_never_loaded(
    cases_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: set[str] = set()
    for name in ("images", "labels"):
        read = getattr(Store, name)

        def counted(store: Store, case: int, read: Any = read) -> Any:
            loaded.add(store.ids[case])
            return read(store, case)

        monkeypatch.setattr(Store, name, counted)
    folds = [open_fold(cases_csv, tmp_path / "data", fold) for fold in range(3)]
    (test,) = {tuple(data.split.test) for data in folds}
    assert "case_00005" in test and len(test) == 2  # one is named by the table, one is drawn
    assert sorted([*test, *sum((data.split.validation for data in folds), [])]) == [
        f"case_{number:05d}" for number in range(6)
    ]
    loaded.clear()
    for data in folds:
        fit_window(AutoWindow(), data)
        for loader in (data.train_dataloader(), data.val_dataloader()):
            assert [np.asarray(batch["image"]).shape for batch in loader]
    assert loaded == {f"case_{number:05d}" for number in range(6)} - {*test}


def test_a_patient_with_a_test_case_is_refused(cases_csv: Path, tmp_path: Path) -> None:
    cases_csv.write_text(cases_csv.read_text().replace(",f,test", ",a,test"))
    cases_csv.write_text(cases_csv.read_text().replace(",b,", ",a,"))

    def split(cases: object) -> Split:
        return Split(["case_00000", "case_00001"], ["case_00002"])

    data = SliceDataModule(cases_csv, Table(), split, Augmentation([]), tmp_path / "data")
    data.prepare_data()
    with pytest.raises(ValueError, match="patient a: has training and test cases"):
        data.setup()


def test_test_cases_are_predicted_and_evaluated(guesser: Path, cases_csv: Path, tmp_path: Path) -> None:
    split = tmp_path / "run" / "split.json"
    split.parent.mkdir()
    split.write_text(json.dumps({"train": [], "validation": ["case_00001"], "test": ["case_00005"]}))
    chosen, out = f"cases={split}:test", tmp_path / "out"
    assert predict(guesser, cases_csv, out, chosen, "quicklook=false") == 0
    assert list(rows(out)) == ["case_00005"]
    assert evaluate(out, cases_csv, tmp_path / "score", "source=table", chosen) == 0
    assert list(record(tmp_path / "score")["cases"]) == ["case_00005"]
    split.write_text(json.dumps({"test": ["case_00009"]}))
    assert predict(guesser, cases_csv, out, chosen) == 1
    assert rows(out)["case_00009"]["problem"].endswith("not in the input")


def test_evaluations_of_test_cases_are_counted(
    blocks: Path, predicted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = tmp_path / "sweep"
    for run, test in (("a", [4, 5]), ("b", [4, 5]), ("c", [3])):
        (sweep / run).mkdir(parents=True)
        parts = {"train": ["case_00000"], "validation": ["case_00001"], "test": test}
        parts["test"] = [f"case_{number:05d}" for number in test]
        (sweep / run / "split.json").write_text(json.dumps(parts))

    def look(run: str, part: str = ":test") -> dict[str, Any]:
        path = sweep / run / "split.json"
        assert evaluate(predicted, blocks, tmp_path / "out", f"cases={path}{part}") == 0
        return record(tmp_path / "out")

    assert list(look("a")["cases"]) == ["case_00004", "case_00005"]
    assert "these test cases were evaluated 1 time\n" in capsys.readouterr().out
    assert look("a")["test_looks"] == 2
    assert look("b")["test_looks"] == 3  # another run with the same test cases
    assert "these test cases were evaluated 3 times\n" in capsys.readouterr().out
    assert look("c")["test_looks"] == 1  # other test cases
    assert "test_looks" not in look("a", "") | look("a", ":train")
    assert len(json.loads((sweep / "a" / "test_looks.json").read_text())) == 2
    (sweep / "a" / "test_looks.json").write_text("[")
    before = (tmp_path / "out" / "evaluation.json").read_bytes()
    with pytest.raises(ValueError, match=r"test_looks.json: is damaged .*; restore it from a copy"):
        look("a")
    assert (tmp_path / "out" / "evaluation.json").read_bytes() == before
    (sweep / "a" / "split.json").write_text(json.dumps({"train": [], "validation": ["case_00001"]}))
    with pytest.raises(ValueError, match="split.json:test: the split has no test cases; train with spl"):
        look("a")
    with pytest.raises(ValueError, match="split.json:tests: the part must be one of train, validation"):
        look("a", ":tests")
