"""Phantoms: voxels, files and interrupted writes."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from kitsseg.data.sources.kits import list_cases
from kitsseg.data.sources.phantom import phantom as phantom_module
from kitsseg.data.sources.phantom.anatomy import draw
from kitsseg.data.sources.phantom.phantom import Phantom, write_case

SMALL = {"cases": 3, "slices": 8, "size": 64}


def voxels(path: Path) -> np.ndarray:
    return np.asanyarray(nib.load(path).dataobj)


@pytest.fixture(scope="module")
def drawn() -> list[tuple[np.ndarray, np.ndarray, tuple[float, float, float]]]:
    return [draw(0, case, 16, 96) for case in range(24)]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("phantom")
    Phantom(**SMALL, workers=1).find(root)
    return root


def test_draw_is_deterministic_and_depends_on_seed_and_case():
    hu, labels, spacing = draw(3, 1, 8, 64)
    again_hu, again_labels, again_spacing = draw(3, 1, 8, 64)
    np.testing.assert_array_equal(hu, again_hu)
    np.testing.assert_array_equal(labels, again_labels)
    assert spacing == again_spacing
    assert not np.array_equal(hu, draw(4, 1, 8, 64)[0])
    assert not np.array_equal(hu, draw(3, 2, 8, 64)[0])


def test_draw_does_not_use_the_global_generator():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    draw(0, 0, 8, 64)
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize(("slices", "size"), [(8, 64), (11, 97)])
def test_every_case_has_every_label_on_any_grid(slices: int, size: int):
    for case in range(20):
        hu, labels, (z_mm, y_mm, x_mm) = draw(1, case, slices, size)
        assert hu.shape == labels.shape == (slices, size, size)
        assert (hu.dtype, labels.dtype) == (np.int16, np.uint8)
        assert set(np.unique(labels)) == {0, 1, 2}
        assert y_mm == x_mm
        assert 350 <= size * x_mm <= 420
        assert 200 <= slices * z_mm <= 240


def test_at_least_a_quarter_of_the_slices_is_background(drawn):
    for _, labels, _ in drawn:
        empty = ~labels.any((1, 2))
        assert 0.25 <= empty.mean() <= 0.75
        assert empty[0] and empty[-1]


def test_kidneys_on_both_sides_and_the_liver_on_the_right(drawn):
    for hu, labels, _ in drawn:
        middle = labels.shape[2] // 2
        assert labels[:, :, :middle].any() and labels[:, :, middle:].any()
        rows = np.nonzero(labels)[1]
        assert rows.mean() > labels.shape[1] * 0.5  # axis 1 points to the back
        # Below the diaphragm, soft tissue is on the right side; fat and gas are on the left.
        front = hu[2:5, 30:48]
        assert np.mean(front[:, :, 20:45] > 20) > np.mean(front[:, :, 51:76] > 20)


def test_hounsfield_units_are_those_of_a_ct(drawn):
    for hu, labels, _ in drawn:
        assert hu[:, :3, :3].mean() == pytest.approx(-1000, abs=40)
        fat = np.mean((hu > -160) & (hu < -50))
        assert 0.05 < fat < 0.6
        assert np.mean(hu > 200) > 0.005  # bone
        assert 50 < np.median(hu[labels == 1]) < 240
        assert 0 < np.median(hu[labels == 2]) < 220


def test_tumours_are_darker_than_the_kidney_as_often_as_published(drawn):
    gaps = np.array([np.median(hu[y == 1]) - np.median(hu[y == 2]) for hu, y, _ in drawn])
    assert gaps.min() < 0 < gaps.max()
    assert 10 < np.median(gaps) < 65  # 39 HU over KiTS23's cases
    assert 20 < np.median([np.median(hu[y == 2]) for hu, y, _ in drawn]) < 120  # 74
    assert 90 < np.median([np.median(hu[y == 1]) for hu, y, _ in drawn]) < 150  # 120


def test_tumour_volumes_span_an_order_of_magnitude(drawn):
    ml = np.array([np.sum(y == 2) * np.prod(mm) / 1000 for _, y, mm in drawn])
    assert 10 < np.median(ml) < 100
    assert ml.max() > 10 * ml.min()


def test_files_have_the_layout_of_kits19(root: Path):
    phantom = Phantom(**SMALL)
    cases = phantom.find(root)
    assert [case.id for case in cases] == ["case_00000", "case_00001", "case_00002"]
    for number, case in enumerate(cases):
        assert case.image == root / phantom.key / case.id / "imaging.nii.gz"
        assert case.label == root / phantom.key / case.id / "segmentation.nii.gz"
        hu, labels, (z_mm, y_mm, x_mm) = draw(0, number, 8, 64)
        for path, expected in ((case.image, hu), (case.label, labels)):
            image = nib.load(path)
            assert image.get_data_dtype() == expected.dtype
            assert nib.aff2axcodes(image.affine) == ("I", "P", "L")
            affine = [[0, 0, -x_mm, 0], [0, -y_mm, 0, 0], [-z_mm, 0, 0, 0], [0, 0, 0, 1]]
            np.testing.assert_allclose(image.affine, affine, rtol=1e-6)
            np.testing.assert_allclose(image.header.get_zooms(), (z_mm, y_mm, x_mm), rtol=1e-6)
            np.testing.assert_array_equal(voxels(path), expected)


def test_files_do_not_depend_on_the_number_of_workers(root: Path, tmp_path: Path):
    alone, together = Phantom(**SMALL).find(root), Phantom(**SMALL, workers=2).find(tmp_path)
    assert len(alone) == len(together) == 3
    for a, b in zip(alone, together, strict=True):
        assert a.image.read_bytes() == b.image.read_bytes()
        assert a.label.read_bytes() == b.label.read_bytes()


def test_a_second_find_draws_nothing(root: Path, monkeypatch, capsys):
    def refuse(*_):
        raise AssertionError("drew again")

    monkeypatch.setattr(phantom_module, "write_case", refuse)
    cases = Phantom(**SMALL, workers=1).find(root)
    assert len(cases) == 3
    assert capsys.readouterr().err == ""


def test_only_what_is_missing_is_drawn(tmp_path: Path):
    phantom = Phantom(**SMALL, workers=1)
    folder = tmp_path / phantom.key
    folder.mkdir()
    write_case(folder, 0, 1, 8, 64)
    before = list_cases(folder)[0].image.stat().st_mtime_ns
    half = folder / ".case_00002-0123abcd"  # left by a killed process
    half.mkdir()
    (half / "imaging.nii.gz").write_bytes(b"half")
    cases = phantom.find(tmp_path)
    assert [case.id for case in cases] == ["case_00000", "case_00001", "case_00002"]
    assert cases[1].image.stat().st_mtime_ns == before


def test_a_case_of_another_process_is_not_replaced(root: Path):
    folder = root / Phantom(**SMALL).key
    image = folder / "case_00000" / "imaging.nii.gz"
    before = image.stat().st_mtime_ns
    write_case(folder, 0, 0, 8, 64)
    assert image.stat().st_mtime_ns == before
    assert not list(folder.glob(".*"))


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(phantom_module, "_write_nifti", full)
    with pytest.raises(OSError, match="No space left"):
        write_case(tmp_path, 0, 0, 8, 64)
    assert not list(tmp_path.iterdir())


def test_a_case_that_lost_a_file_is_reported(tmp_path: Path):
    phantom = Phantom(cases=1, slices=8, size=64, workers=1)
    case = phantom.find(tmp_path)[0]
    case.label.unlink()
    with pytest.raises(ValueError, match=r"case_00000: lacks .*; delete the folder and run again"):
        phantom.find(tmp_path)


def test_the_key_depends_on_the_content(monkeypatch):
    key = Phantom().key
    assert key.startswith("40x24x128-seed0-")
    assert len(key.rpartition("-")[2]) == 8
    assert Phantom(workers=7).key == key
    others = {"cases": 41, "slices": 25, "size": 129, "seed": 1}
    keys = {key} | {Phantom(**{name: value}).key for name, value in others.items()}
    monkeypatch.setattr(phantom_module.anatomy, "VERSION", -1)
    assert len(keys | {Phantom().key}) == 6


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("cases", 0, "cases=0: must be at least 1"),
        ("cases", 100_001, "cases=100001: must be at most 100000"),
        ("slices", 7, "slices=7: must be at least 8"),
        ("size", 63, "size=63: must be at least 64"),
        ("seed", -1, "seed=-1: must be at least 0"),
        ("workers", 0, "workers=0: must be at least 1"),
    ],
)
def test_a_value_out_of_range_is_refused(name: str, value: int, text: str):
    with pytest.raises(ValueError, match=f"^{text}$"):
        Phantom(**{name: value})
