"""`kitsseg.data.store.prepare`: content of the store, updates and bad cases."""

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from kitsseg.data.case import Case
from kitsseg.data.io.nifti.read import read_label
from kitsseg.data.labels import KITS19, Labels
from kitsseg.data.sources.kits import Kits19, list_cases
from kitsseg.data.store.grid import Grid
from kitsseg.data.store.prepare import is_current, prepare
from kitsseg.data.store.store import CARD, store_folder
from tests.conftest import AFFINE, blocky, write_case
from tests.helpers import powerless


def test_native_slices_are_the_files_voxels(block_cases: list[Case], tmp_path: Path) -> None:
    store = prepare(block_cases, tmp_path, None)
    for number in range(6):
        image, label = blocky(number)
        assert np.array_equal(store.images(number), image)
        assert np.array_equal(store.labels(number), label)
        assert store.images(number).dtype == np.int16 and store.labels(number).dtype == np.uint8


def test_index_counts_pixels(block_cases: list[Case], tmp_path: Path) -> None:
    index = prepare(block_cases, tmp_path, None).index
    assert index.case.tolist() == [c for c in range(6) for _ in range(6)]
    assert index.z.tolist() == list(range(6)) * 6
    assert index.foreground.reshape(6, 6).tolist() == [[0, 0, 1, 1, 1, 0]] * 6
    assert index.contains([2]).reshape(6, 6).tolist() == [[0, 0, 0, 1, 1, 0]] * 6
    assert index.pixels[3].tolist() == [64 * 64 - 320, 320 - 64, 64]


def test_written_once_and_again_when_a_file_changes(blocks: Path, tmp_path: Path) -> None:
    root = tmp_path / "raw"
    shutil.copytree(blocks, root)
    cases, folder = Kits19().find(root), tmp_path / "store"
    prepare(cases, folder, None)
    before = {c.id: os.stat(folder / c.id / CARD).st_mtime_ns for c in cases}
    shutil.rmtree(root / "case_00002")
    write_case(root, 2, *blocky(77))
    store = prepare(Kits19().find(root), folder, None)
    after = {c.id: os.stat(folder / c.id / CARD).st_mtime_ns for c in cases}
    assert [i for i in before if before[i] != after[i]] == ["case_00002"]
    assert np.array_equal(store.images(2), blocky(77)[0])
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]


def test_a_changed_label_is_prepared_again(blocks: Path, tmp_path: Path) -> None:
    root, folder = tmp_path / "raw", tmp_path / "store"
    shutil.copytree(blocks, root)
    cases = list_cases(root)
    prepare(cases, folder, None)
    path, label = cases[2].label, blocky(2)[1]
    was = path.stat()
    path.write_bytes(path.read_bytes() + b"\0")  # the same label, but who knows
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert [is_current(c, folder) for c in cases] == [c.id != "case_00002" for c in cases]
    nib.save(nib.Nifti1Image(np.minimum(label, 1), AFFINE), path)
    store = prepare(cases, folder, None)
    assert np.array_equal(store.labels(2), np.minimum(label, 1))
    later = path.stat().st_mtime_ns + 1
    os.utime(path, ns=(later, later))
    assert not is_current(cases[2], folder)


def test_other_labels_prepare_again(blocks: Path, tmp_path: Path) -> None:
    folder, wanted = tmp_path / "store", np.array([0, 2, 1])[blocky(0)[1]]
    before = prepare(Kits19().find(blocks), folder, None)
    assert np.array_equal(before.labels(0), blocky(0)[1])
    swapped = replace(KITS19, values={0: "background", 1: "tumour", 2: "kidney"})
    mapped = Kits19().find(blocks, swapped)
    assert not any(is_current(case, folder, swapped) for case in mapped)
    assert np.array_equal(prepare(mapped, folder, None, labels=swapped).labels(0), wanted)
    renamed = Labels(("background", "organ", "lesion"), {"lesion": ["lesion"]}, "lesion")
    assert not any(is_current(case, folder, renamed) for case in Kits19().find(blocks, renamed))


@pytest.mark.parametrize("size", [None, 64])
@pytest.mark.parametrize("version", [None, 2])  # the first version had no number
def test_a_case_of_an_earlier_version_is_prepared_again(
    blocks: Path, tmp_path: Path, size: int | None, version: int | None
) -> None:
    cases = Kits19().find(blocks)
    prepare(cases, tmp_path, size)
    path = tmp_path / "case_00001" / CARD
    written = path.read_text()
    card = json.loads(written)
    del card["version"], card["foreground_hu"]
    path.write_text(json.dumps(card if version is None else {**card, "version": version}))
    assert not is_current(cases[1], tmp_path)
    prepare(cases, tmp_path, size)
    assert path.read_text() == written


@pytest.mark.parametrize("size", [None, 32])
def test_histogram_counts_the_voxels_of_the_files(
    block_cases: list[Case], tmp_path: Path, size: int | None
) -> None:
    store = prepare(block_cases, tmp_path, size)
    hu, counts = store.foreground_hu([block_cases[4].id, block_cases[1].id])
    voxels = [image[label > 0] for image, label in map(blocky, (4, 1))]
    assert np.array_equal(np.repeat(hu, counts), np.concatenate([np.sort(v) for v in voxels]))


def test_any_number_of_classes_is_stored(tmp_path: Path) -> None:
    """Four classes, whose values have gaps and exceed a byte."""
    image, label = blocky(0)
    stored = np.array([0, 7, 300], np.int16)[label]
    stored[4, 40:44, 40:44] = 301
    names = ("background", "kidney", "tumour", "cyst")
    regions, values = {"tumour": ["tumour"]}, dict(zip((0, 7, 300, 301), names, strict=True))
    labels = Labels(names, regions, "tumour", values=values)
    case = replace(write_case(tmp_path, 0, image, stored), stored=labels.stored)
    store = prepare([case], tmp_path / "store", None, labels=labels)
    expected = np.where(stored == 301, 3, label)
    assert np.array_equal(store.labels(0), expected)
    assert store.index.pixels.sum(axis=0).tolist() == [(expected == c).sum() for c in range(4)]
    assert store.cards[0]["hu"]["cyst"] is not None
    with pytest.raises(ValueError, match=r"labels \[301\] in 16 voxels; allowed are 0, 7, 300; rel"):
        read_label(case.label, {0: 0, 7: 1, 300: 2})


def test_workers_write_the_same_bytes(block_cases: list[Case], tmp_path: Path) -> None:
    for workers in (1, 2):
        prepare(block_cases, tmp_path / str(workers), 96, workers)
    files = sorted(p.relative_to(tmp_path / "1") for p in (tmp_path / "1").rglob("*") if p.is_file())
    assert len(files) == 18
    for file in files:
        assert (tmp_path / "1" / file).read_bytes() == (tmp_path / "2" / file).read_bytes()


def test_store_is_named_by_what_determines_it(tmp_path: Path) -> None:
    names = {
        store_folder(tmp_path, tmp_path / root, size).name
        for root in ("a/kits19", "b/kits19")
        for size in (None, 128, 256, ((3, 1, 1), "linear"), ((3, 1, 1), "cubic"))
    }
    assert len(names) == 10
    sources = (
        Kits19(),
        Kits19("other.nii.gz"),
        Kits19(extra_values={3: "kidney"}),
        Kits19(offset_hu=-9),
    )
    folders = {store_folder(tmp_path, tmp_path, 128, options=source.options) for source in sources}
    assert len(folders) == 4 and store_folder(tmp_path, tmp_path, 128) in folders


@pytest.mark.parametrize("size", [None, 64, 128])
def test_wide_slices_keep_their_aspect(size: int | None) -> None:
    grid = Grid((512, 796), size)
    rows, cols = grid.inside
    height, width = rows.stop - rows.start, cols.stop - cols.start
    assert grid.stored == ((512, 796) if size is None else (size, size))
    assert width == (796 if size is None else size)
    assert height / width == pytest.approx(512 / 796, abs=0.5 / width)
    label = np.ones((1, 512, 796), np.uint8)
    assert grid.fit_label(label).sum() == height * width


def some_bad(raw: Path) -> list[Case]:
    """Return three cases; only the second is usable."""
    flat, label = blocky(0)
    return [
        write_case(raw, 0, np.zeros_like(flat), label),
        write_case(raw, 1, *blocky(1)),
        write_case(raw, 2, flat[:-1], label),
    ]


def test_all_bad_cases_are_reported_and_good_ones_prepared(tmp_path: Path) -> None:
    cases = some_bad(tmp_path / "raw")
    with pytest.raises(ValueError) as refusal:
        prepare(cases, tmp_path / "store", 64)
    lines = str(refusal.value).splitlines()
    assert ["case_00000/imaging" in lines[0], "case_00002/segmentation" in lines[1]] == [True] * 2
    assert len(lines) == 2
    assert sorted(p.name for p in (tmp_path / "store").iterdir()) == ["case_00001"]


def test_bad_cases_are_left_out_if_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cases = some_bad(tmp_path / "raw")
    store = prepare(cases, tmp_path / "store", 64, skip_bad=True)
    assert store.ids == ["case_00001"] and np.array_equal(store.images(0), blocky(1)[0])
    left_out = [m for m in caplog.messages if m.startswith("left out: ")]
    assert len(left_out) == 2 and "every voxel has the same value" in left_out[0]
    with pytest.raises(ValueError, match="none of the 1 cases can be used"):
        prepare(cases[:1], tmp_path / "store", 64, skip_bad=True)


def test_a_folder_that_lacks_a_file_is_a_bad_case(
    blocks: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "kits19"
    shutil.copytree(blocks, root)
    (root / "case_00001" / "imaging.nii.gz").unlink()
    (root / "case_00003" / "segmentation.nii.gz").unlink()
    (root / "case_00005" / "imaging.nii.gz").unlink()
    (root / "case_00005" / "imaging.nii.gz").mkdir()
    (root / "case_00210").mkdir()  # test cases have no labels
    cases = Kits19(test="210-299").find(root)
    assert len(cases) == 6
    with pytest.raises(ValueError) as refusal:
        prepare(cases, tmp_path / "store", None)
    lines = str(refusal.value).splitlines()
    for line, text in zip(
        lines,
        (
            r"case_00001/imaging.nii.gz: is missing; add it, or .* kitsseg.download .* cases=1",
            r"case_00003/segmentation.nii.gz: is missing; add it, or .* kitsseg.download .* cases=3",
            r"case_00005/imaging.nii.gz: is a folder, not a file; move it away",
        ),
        strict=True,
    ):
        assert re.search(text, line)
    assert prepare(cases, tmp_path / "store", None, skip_bad=True).ids == [
        "case_00000", "case_00002", "case_00004"
    ]  # fmt: skip
    assert sum(message.startswith("left out: ") for message in caplog.messages) == 3
    assert Kits19().find(root)[-1].id == "case_00210"


def test_what_a_later_edition_lacks_is_not_kits19s_to_fetch(blocks: Path, tmp_path: Path) -> None:
    root = tmp_path / "kits23"
    shutil.copytree(blocks, root)
    (root / "case_00001" / "segmentation.nii.gz").unlink()
    source = Kits19(numbers=["0-299", "400-588"], origin="https://example.org/kits23")
    with pytest.raises(
        ValueError, match=r"segmentation.nii.gz: is missing; see https://example.org/kits23"
    ):
        prepare(source.find(root), tmp_path / "store", None)


def test_a_case_that_cannot_be_entered_is_a_bad_case(blocks: Path, tmp_path: Path) -> None:
    shutil.copytree(blocks, tmp_path / "raw")
    locked = tmp_path / "raw" / "case_00001"
    locked.chmod(0)
    code = (
        "from pathlib import Path; from kitsseg.data.sources.kits import Kits19; "
        "from kitsseg.data.store.prepare import prepare; "
        "print(len(prepare(Kits19().find('raw'), Path('store'), None, skip_bad=True).ids))"
    )
    try:
        done = powerless.run(tmp_path, "-c", code)
    finally:
        locked.chmod(0o755)
    assert (done.returncode, done.stdout) == (0, "5\n")
    assert "raw/case_00001/imaging.nii.gz: cannot be accessed (Permission denied)" in done.stderr
    assert "left out: raw/case_00001/imaging.nii.gz: cannot be accessed" in done.stderr
