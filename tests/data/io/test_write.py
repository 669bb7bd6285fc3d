"""`kitsseg.data.io.nifti.write`: written volumes have the grid of their image."""

import gzip
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

from kitsseg.data.io.nifti.read import read_label_volume
from kitsseg.data.io.nifti.write import save_volume
from kitsseg.data.io.read_scan import read_image
from tests.conftest import AFFINE

SHAPE = (5, 7, 9)


def volumes() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    label = np.zeros(SHAPE, np.uint8)
    label[1:4, 2:6, 3:8] = rng.integers(0, 3, (3, 4, 5))
    return rng.integers(-1000, 1000, SHAPE).astype(np.int16), label


def turned_image(axes: str) -> tuple[nib.Nifti1Image, np.ndarray]:
    """Return image and label of `volumes`, reoriented to ``axes``."""
    change = ornt_transform(axcodes2ornt("IPL"), axcodes2ornt(axes))
    image, label = (apply_orientation(volume, change) for volume in volumes())
    return nib.Nifti1Image(image, AFFINE @ inv_ornt_aff(change, SHAPE)), label


@pytest.mark.parametrize("axes", ["IPL", "RAS", "LPS", "PSR", "ASL", "SAL", "RIP", "LIA"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_any_axes(tmp_path: Path, axes: str, ending: str) -> None:
    image, label = turned_image(axes)
    nib.save(image, tmp_path / f"ct{ending}")
    read = read_image(tmp_path / f"ct{ending}")
    save_volume(tmp_path / f"out{ending}", volumes()[1], read.layout)
    out = nib.load(tmp_path / f"out{ending}")
    assert out.get_data_dtype() == np.uint8
    assert np.array_equal(np.asanyarray(out.dataobj), label)
    assert np.array_equal(out.affine, nib.load(tmp_path / f"ct{ending}").affine)
    assert np.array_equal(read_label_volume(tmp_path / f"out{ending}").label, volumes()[1])


def header_of(kind: type) -> nib.Nifti1Image:
    oblique = AFFINE.copy()
    oblique[:3, :3] = [[0, 0.1, -0.8], [0, -0.79, -0.1], [-3.0, 0.2, 0]]
    image = kind(volumes()[0], oblique)
    image.set_qform(oblique, 1)
    image.set_sform(oblique, 2)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"], image.header["intent_name"] = b"scanner 7", b"ct"
    image.header["cal_max"] = 300
    image.header.set_slope_inter(2, -1024)
    return image


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_the_header_is_kept_but_for_what_concerns_the_values(tmp_path: Path, kind: type) -> None:
    image = header_of(kind)
    nib.save(image, tmp_path / "ct.nii.gz")
    read = read_image(tmp_path / "ct.nii.gz")
    save_volume(tmp_path / "out.nii.gz", volumes()[1], read.layout)
    out, ct = nib.load(tmp_path / "out.nii.gz"), nib.load(tmp_path / "ct.nii.gz")
    assert type(out) is kind and np.array_equal(np.asanyarray(out.dataobj), volumes()[1])
    changed = {"datatype", "bitpix", "scl_slope", "scl_inter", "cal_max"}
    for key in ct.header:
        same = np.array_equal(
            out.header[key], ct.header[key], equal_nan=ct.header[key].dtype.kind == "f"
        )
        assert same or key in changed, key
    assert out.header["cal_max"] == 0
    assert read_label_volume(tmp_path / "out.nii.gz").layout.header.get_slope_inter() == (1, 0)
    assert np.array_equal(out.get_qform(), ct.get_qform())


def test_other_byte_orders_and_a_further_axis(tmp_path: Path) -> None:
    header = nib.Nifti1Header(endianness=">")
    image = nib.Nifti1Image(volumes()[0][..., None].astype(">i2"), AFFINE, header)
    nib.save(image, tmp_path / "ct.nii")
    read = read_image(tmp_path / "ct.nii")
    save_volume(tmp_path / "out.nii", volumes()[1], read.layout)
    out = nib.load(tmp_path / "out.nii")
    assert out.shape == (*SHAPE, 1) and out.header.endianness == ">"
    assert np.array_equal(np.asanyarray(out.dataobj)[..., 0], volumes()[1])


def test_units_and_reproducible_bytes(tmp_path: Path) -> None:
    image, _ = turned_image("RAS")
    nib.save(image, tmp_path / "ct.nii")
    layout = replace(read_image(tmp_path / "ct.nii").layout, header=None)
    values = np.full(SHAPE, 51, np.uint8)
    for name in ("a", "b"):
        save_volume(tmp_path / f"{name}.nii.gz", values, layout, unit=1 / 255)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    out = nib.load(tmp_path / "a.nii.gz")
    assert out.get_fdata() == pytest.approx(np.full(SHAPE[::-1], 0.2), rel=1e-6)
    assert np.allclose(out.affine, image.affine) and out.header["sform_code"] == 1


def test_many_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kitsseg.data.io.nifti.write.BLOCK_BYTES", 130)
    test_any_axes(tmp_path, "LPS", ".nii.gz")
    assert len(gzip.decompress((tmp_path / "out.nii.gz").read_bytes())) == 352 + np.prod(SHAPE)
