"""NIfTI -> store: the right pixels in the right place, written once, and clear refusals."""

import os
import shutil
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pytest

from kitsseg.data.kits19 import Case, Kits19
from kitsseg.data.nifti import read_case
from kitsseg.data.prepare import prepare
from kitsseg.data.store import CARD, store_folder
from kitsseg.grid import Grid
from kitsseg.labels import AIR_HU
from tests.conftest import AFFINE, blocky, write_case


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
    assert index.has_tumour.reshape(6, 6).tolist() == [[0, 0, 0, 1, 1, 0]] * 6
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
        for size in (None, 128, 256)
    }
    assert len(names) == 6


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


def test_shrinking_averages_and_votes() -> None:
    grid = Grid((4, 4), 2)
    image = np.arange(16, dtype=np.int16).reshape(1, 4, 4) * 10
    assert grid.fit_image(image)[0].tolist() == [[25, 45], [105, 125]]
    label = np.array([[[1, 1, 0, 0], [1, 0, 0, 2], [2, 2, 0, 0], [2, 1, 0, 0]]], np.uint8)
    assert grid.fit_label(label)[0].tolist() == [[1, 0], [2, 0]]


def test_growing_interpolates() -> None:
    image = np.arange(36, dtype=np.int16).reshape(1, 6, 6) * 100
    grown = Grid((6, 6), 12).fit_image(image)
    assert np.array_equal(grown[0], cv2.resize(image[0], (12, 12), interpolation=cv2.INTER_LINEAR))


def test_padding_is_air() -> None:
    stored = Grid((32, 64), 64).fit_image(np.full((1, 32, 64), 40, np.int16))
    assert (stored[0, :16] == AIR_HU).all() and (stored[0, 48:] == AIR_HU).all()
    assert (stored[0, 16:48] == 40).all()


@pytest.mark.parametrize("codes", ["IPL", "RAS", "LPS", "SAR"])
def test_any_orientation_comes_out_as_kits19s(tmp_path: Path, codes: str) -> None:
    image, label = blocky(1)
    straight = nib.Nifti1Image(image, AFFINE)
    change = nib.orientations.ornt_transform(
        nib.io_orientation(AFFINE), nib.orientations.axcodes2ornt(codes)
    )
    turned = straight.as_reoriented(change)
    masks = nib.Nifti1Image(label, AFFINE).as_reoriented(change)
    case = write_case(tmp_path, 0, np.asarray(turned.dataobj), np.asarray(masks.dataobj), turned.affine)
    volume = read_case(case)
    assert np.array_equal(volume.image, image) and np.array_equal(volume.label, label)
    assert volume.spacing_mm == pytest.approx((3.0, 0.8, 0.8))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.uint16])
def test_any_number_type_gives_the_same_hu(tmp_path: Path, dtype: type) -> None:
    image, label = blocky(1)
    shift = 2000 if dtype == np.uint16 else 0
    case = write_case(tmp_path, 0, (image.astype(int) + shift).astype(dtype), label)
    if shift:
        nifti = nib.load(case.image)
        header = nifti.header.copy()
        stored = nib.Nifti1Image(np.asarray(nifti.dataobj), AFFINE, header)
        stored.header.set_slope_inter(1, -shift)
        nib.save(stored, case.image)
    assert np.array_equal(read_case(case).image, image)


def broken(root: Path, kind: str) -> Case:
    image, label = blocky(0)
    if kind == "nan":
        image = image.astype(np.float32)
        image[0, 0, 0] = np.nan
    if kind == "constant":
        image[:] = 7
    if kind == "labels":
        label[0, 0, :2] = 5
    if kind == "shape":
        label = label[:-1]
    if kind == "4d":
        image = image[..., None].repeat(2, -1)
    shifted = AFFINE.copy()
    if kind == "affine":
        shifted[0, 3] = 40
    case = write_case(root, 0, image, label, AFFINE, shifted if kind == "affine" else None)
    if kind == "truncated":
        case.image.write_bytes(case.image.read_bytes()[:2000])
    if kind == "html":
        case.image.write_text("<html>not found</html>")
    return case


@pytest.mark.parametrize(
    ("kind", "file", "text"),
    [
        ("nan", "imaging", "holds NaN or infinite values"),
        ("constant", "imaging", "every voxel has the same value"),
        ("labels", "segmentation", r"holds labels \[5\]; KiTS19 has 0 background"),
        ("shape", "segmentation", r"has shape \(5, 64, 64\), its image \(6, 64, 64\)"),
        ("4d", "imaging", "has 4 dimensions"),
        ("affine", "segmentation", "its affine differs from the image's by up to 40 mm"),
        ("truncated", "imaging", "can't be read .* fetch it again"),
        ("html", "imaging", "can't be read .* fetch it again"),
    ],
)
def test_refusals_name_the_file_and_leave_nothing(
    tmp_path: Path, kind: str, file: str, text: str
) -> None:
    case = broken(tmp_path / "raw", kind)
    with pytest.raises(ValueError, match=f"{file}.nii.gz: .*{text}") as refusal:
        prepare([case], tmp_path / "store", 64)
    assert "\n" not in str(refusal.value)
    assert not any((tmp_path / "store").iterdir())


def test_all_bad_cases_are_told_and_the_good_ones_prepared(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    cases = [broken(raw / "a", "nan"), write_case(raw, 1, *blocky(1)), broken(raw / "b", "4d")]
    with pytest.raises(ValueError) as refusal:
        prepare(cases, tmp_path / "store", 64)
    assert len(str(refusal.value).splitlines()) == 2
    assert (tmp_path / "store" / "case_00001" / CARD).is_file()


def test_missing_data_says_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"does not exist.*kitsseg.download root=.*data=phantom"):
        Kits19().find(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no case_XXXXX folder"):
        Kits19().find(tmp_path)


def test_a_checkout_of_the_official_repository_is_found(blocks: Path, tmp_path: Path) -> None:
    shutil.copytree(blocks, tmp_path / "kits19" / "data")
    assert len(Kits19().find(tmp_path / "kits19")) == 6
