"""The commands on nnU-Net's layout and a table: the same volumes give the results of KiTS19's layout."""

import json
from dataclasses import asdict
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from kitsseg.data.case import Case
from kitsseg.data.slices.augment import Augmentation
from kitsseg.data.slices.datamodule import SliceDataModule
from kitsseg.data.sources.kits import Kits19
from kitsseg.data.sources.nnunet import NnUNet
from kitsseg.data.sources.source import Source
from kitsseg.data.sources.table import Table
from kitsseg.data.split import Seeded, Split, Stratified
from tests.commands.test_prepare import prepare
from tests.conftest import AFFINE, blocky, write_case
from tests.helpers.evaluating import evaluate, record
from tests.helpers.predicting import predict
from tests.helpers.sources import link, nnunet, table
from tests.helpers.verifying import verify


@pytest.fixture
def roots(blocks: Path, block_cases: list[Case], tmp_path: Path) -> dict[str, Path]:
    """The crude cases in three layouts; the second and third also have a test case."""
    links = tmp_path / "links"
    root = nnunet(tmp_path / "nnunet", block_cases)
    link(block_cases[0].image, root / "imagesTs" / "new_0000.nii.gz")
    rows = [[c.id, c.image, link(c.label, links / f"{c.id}.nii.gz")] for c in block_cases]
    rows.append(["new", block_cases[0].image, ""])
    return {"kits19": blocks, "nnunet": root, "table": table(tmp_path / "cases.csv", rows)}


def opened(source: Source, root: Path, prepared: Path, split: object = None) -> SliceDataModule:
    splitter = Seeded(0.33) if split is None else split
    data = SliceDataModule(root, source, splitter, Augmentation([]), prepared, size=32)
    data.prepare_data()
    data.setup()
    return data


def test_arrays_splits_and_batches_are_equal(roots: dict[str, Path], tmp_path: Path) -> None:
    sources = {"kits19": Kits19(), "nnunet": NnUNet(), "table": Table()}
    first, *others = (opened(sources[n], roots[n], tmp_path / "prepared" / n) for n in sources)
    for other in others:
        assert asdict(other.split) == asdict(first.split) and other.store.ids == first.store.ids
        assert [c["hu"] for c in other.store.cards] == [c["hu"] for c in first.store.cards]
        assert np.array_equal(other.rows(0), first.rows(0))
        for number in range(6):
            for read in ("images", "labels"):
                pair = (getattr(data.store, read)(number) for data in (first, other))
                assert np.array_equal(*pair)


def test_each_table_has_a_store(roots: dict[str, Path], tmp_path: Path) -> None:
    second = tmp_path / "second.csv"
    second.write_text(roots["table"].read_text())
    for path in (roots["table"], second):
        opened(Table(), path, tmp_path / "prepared")
    assert len(list((tmp_path / "prepared").iterdir())) == 2


def test_strata_by_the_presence_of_the_target(tmp_path: Path) -> None:
    for number in range(8):
        image, label = blocky(number)
        write_case(tmp_path / "raw", number, image, label if number % 2 else np.minimum(label, 1))
    data = opened(Kits19(), tmp_path / "raw", tmp_path / "prepared", Stratified(validation=0.5))
    odd = [sum(int(name[-1]) % 2 for name in ids) for ids in (data.split.train, data.split.validation)]
    assert odd == [2, 2]


def test_a_splitter_of_the_users_own_cannot_split_a_patient(
    roots: dict[str, Path], tmp_path: Path
) -> None:
    lines = roots["table"].read_text().splitlines()
    lines = [f"{line},{'patient' if i == 0 else 'p'}" for i, line in enumerate(lines)]
    roots["table"].write_text("\n".join(lines))

    def own(cases: list[Case]) -> Split:
        return Split([cases[0].id], [cases[1].id])

    with pytest.raises(ValueError, match="patient p: has training and validation cases"):
        opened(Table(), roots["table"], tmp_path / "prepared", own)


@pytest.mark.parametrize("name", ["nnunet", "table"])
def test_prepare_and_verify(
    roots: dict[str, Path], tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(tmp_path, f"data={name}", f"data.root={roots[name]}", "data.size=32")
    assert capsys.readouterr().out.startswith("6 cases, 36 slices: 18 with kidney or tumour")
    code, report = verify(roots[name], f"source={name}")
    assert code == 0
    assert [c["state"] for c in report["cases"]] == ["ok"] * 6 + ["test"]
    code, report = verify(roots[name], f"source={name}", "cases=[new,case_00003]")
    assert [c["id"] for c in report["cases"]] == ["case_00003", "new"]
    with pytest.raises(ValueError, match="cases: the data set has no case other"):
        verify(roots[name], f"source={name}", "cases=other")


def test_a_wrong_label_is_one_line(block_cases: list[Case], tmp_path: Path) -> None:
    root = nnunet(tmp_path / "nnunet", block_cases[:2])
    label = blocky(0)[1]
    label[4, 40:44, 40:44] = 9
    (root / "labelsTr" / "case_00000.nii.gz").unlink()
    nib.save(nib.Nifti1Image(label, AFFINE), path := root / "labelsTr" / "case_00000.nii.gz")
    said = (
        f"{path}: contains labels [9] in 16 voxels; allowed are 0, 1, 2; relabel it, or name the values"
    )
    with pytest.raises(ValueError) as error:
        prepare(tmp_path, "data=nnunet", f"data.root={root}")
    assert str(error.value) == f"{said} in the labels"


@pytest.mark.parametrize("name", ["nnunet", "table"])
def test_predict_and_evaluate(
    guesser: Path, roots: dict[str, Path], block_cases: list[Case], tmp_path: Path, name: str
) -> None:
    images = roots["table"] if name == "table" else roots["nnunet"] / "imagesTr"
    out, score = tmp_path / "out", tmp_path / "score"
    assert predict(guesser, images, out) == 0
    written = {path.name for path in out.glob("*.nii.gz")}
    assert {f"{case.id}.nii.gz" for case in block_cases} == written - {"new.nii.gz"}
    assert ("new.nii.gz" in written) == (name == "table")
    (tmp_path / "split.json").write_text(json.dumps({"train": [], "validation": ["case_00002"]}))
    chosen = f"cases={tmp_path / 'split.json'}"
    assert evaluate(out, roots[name], score, f"source={name}", chosen) == 0
    assert list(record(score)["cases"]) == ["case_00002"]
    code = evaluate(out, roots[name], score, f"source={name}")
    assert len(record(score)["cases"]) == 6
    problems = {"new": "no ground truth; use cases= to select cases with ground truth"}
    assert record(score)["problems"] == (problems if name == "table" else {}) and code == len(
        record(score)["problems"]
    )


def test_ids_of_any_text(guesser: Path, block_cases: list[Case], tmp_path: Path) -> None:
    """A space, umlauts, a dot, and what a shell or HTML would interpret."""
    names = ["Ärztin 7", "a.b", "$x & <y>", "case_1"]
    rows = [[f'"{n}"', c.image, c.label] for n, c in zip(names, block_cases, strict=False)]
    path = table(tmp_path / "cases.csv", rows)
    assert opened(Table(), path, tmp_path / "prepared").store.ids == sorted(names)
    assert predict(guesser, path, tmp_path / "out") == 0
    assert evaluate(tmp_path / "out", path, tmp_path / "score", "source=table") == 0
    assert sorted(record(tmp_path / "score")["cases"]) == sorted(names)
