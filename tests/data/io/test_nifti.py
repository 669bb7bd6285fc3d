"""`kitsseg.data.io.nifti.read`: equality with nibabel's reading, and error messages."""

import errno
import itertools
import os
import struct
from pathlib import Path
from unittest.mock import Mock

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitsseg.data.case import EXPORT, FETCH, IMAGE_NAME, LABEL_NAME
from kitsseg.data.io.nifti import read as nifti
from kitsseg.data.io.nifti.header import ORIENTATION, Layout
from kitsseg.data.io.nifti.read import read_label, read_label_volume
from kitsseg.data.io.nifti.voxels import ToHu
from kitsseg.data.io.read_scan import read_image
from tests.conftest import AFFINE, blocky, write_case

CODES = [
    "".join(codes)
    for codes in itertools.product("RLAPSI", repeat=3)
    if len({frozenset(p) & set(codes) and p for p in ("RL", "AP", "SI") if set(p) & set(codes)}) == 3
]


def by_nibabel(path: Path) -> nib.Nifti1Image:
    """Read and reorient with nibabel."""
    loaded = nib.load(path)
    target = nib.orientations.axcodes2ornt(ORIENTATION)
    change = nib.orientations.ornt_transform(nib.io_orientation(loaded.affine), target)
    return loaded.as_reoriented(change)


def affine_of(codes: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the affine of a volume with axes ``codes``."""
    turned = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(codes), shape)
    return np.asarray(turned @ np.diag([2.5, 0.7, 0.9, 1]))


def test_there_are_48_orientations() -> None:
    assert len(CODES) == 48


@settings(max_examples=250, deadline=None)
@given(
    codes=st.sampled_from(CODES),
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    dtype=st.sampled_from(["<i2", ">i2", "<u2", "|u1", "|i1", "<i4", ">f4", "<f4", "<f8", "<i8", "<u4"]),
    scaling=st.sampled_from(
        [None, (1, 0), (1, -1024), (2, 3), (-3, 7), (1, 70000), (300, -20000), (0.5, -100), (1.5, 2**33)]
    ),
    slab=st.sampled_from([1, 64, 1 << 20]),
    piece=st.sampled_from([1, 5, 1 << 16]),
    wide=st.booleans(),
    packed=st.booleans(),
    second=st.booleans(),
)
def test_any_file_is_read_as_nibabel_reads_it(
    tmp_path_factory: pytest.TempPathFactory,
    codes: str,
    shape: tuple[int, int, int],
    dtype: str,
    scaling: tuple[float, float] | None,
    slab: int,
    piece: int,
    wide: bool,
    packed: bool,
    second: bool,
) -> None:
    path = tmp_path_factory.mktemp("any") / ("a.nii.gz" if packed else "a.nii")
    rng, kind_of = np.random.default_rng(0), np.dtype(dtype)
    if wide and kind_of.kind in "iu":  # the full range of the type
        limits = np.iinfo(kind_of)
        values = rng.integers(limits.min, limits.max, shape, kind_of.newbyteorder("="), True)
    else:
        values = rng.integers(-99 if kind_of.kind != "u" else 0, 120, shape)
    values = values.astype(dtype)
    if kind_of.kind == "f":
        values /= 4  # includes halves, which are rounded to even
    kind = nib.Nifti2Image if second else nib.Nifti1Image
    image = kind(values, affine_of(codes, shape), dtype=np.dtype(dtype))
    if scaling is not None:  # values are stored unscaled
        image.header.set_slope_inter(*scaling)
    image.to_filename(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nifti, "SLAB_BYTES", slab)
        patch.setattr(nifti, "PIECE", piece)
        hu, layout = nifti._read(path, convert := ToHu(), FETCH)
    reference = by_nibabel(path)
    expected = np.clip(np.rint(np.asarray(reference.dataobj, np.float64)), -(2**15), 2**15 - 1)
    assert np.array_equal(hu, expected)
    assert nifti.Image(hu, (convert.low, convert.high), layout).range_hu == (
        expected.min(),
        expected.max(),
    )
    assert hu.flags.c_contiguous and hu.shape == layout.turned_shape
    assert np.allclose(layout.turned_affine, reference.affine)
    assert layout.spacing_mm == pytest.approx(reference.header.get_zooms())
    assert layout.axes == "".join(nib.aff2axcodes(nib.load(path).affine))
    back = layout.in_file_axes(hu)
    way = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt(ORIENTATION), nib.io_orientation(nib.load(path).affine)
    )
    assert np.array_equal(back, nib.orientations.apply_orientation(expected, way))


def test_a_label_of_any_type_gives_the_same_classes(tmp_path: Path) -> None:
    _, label = blocky(3)
    for dtype in (np.uint8, np.uint16, np.int16, np.int64, np.float32, np.float64):
        path = tmp_path / f"{np.dtype(dtype).name}.nii.gz"
        nib.save(nib.Nifti1Image(label.astype(dtype), AFFINE, dtype=dtype), path)
        read = read_label(path)
        assert read.dtype == np.uint8 and np.array_equal(read, label)


def test_cysts_become_kidney(tmp_path: Path) -> None:
    stored = np.zeros((4, 32, 32), np.uint8)
    stored[1, 4:8], stored[1, 8:12], stored[2, 4:8] = 1, 2, 3
    path = tmp_path / "kits23.nii.gz"
    nib.save(nib.Nifti1Image(stored, AFFINE), path)
    label = read_label(path, {0: 0, 1: 1, 2: 2, 3: 1})
    assert np.array_equal(label, np.array([0, 1, 2, 1])[stored])
    with pytest.raises(
        ValueError, match=r"contains labels \[3\] in 128 voxels.*data=kits23 or source=kits23"
    ):
        read_label(path)


def test_trailing_zeros_and_a_fourth_axis_of_length_one(tmp_path: Path) -> None:
    image, label = blocky(2)
    case = write_case(tmp_path, 0, image[..., None], label)
    case.label.write_bytes(case.label.read_bytes() + bytes(600))
    assert np.array_equal(read_image(case.image).hu, image)
    assert np.array_equal(read_label(case.label), label)


def test_a_damaged_qform_beside_an_sform_is_a_warning(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(blocky(0)[0], AFFINE), tmp_path / "a.nii")
    data = bytearray((tmp_path / "a.nii").read_bytes())
    data[252:254], data[256:268] = struct.pack("<h", 1), struct.pack("<3f", 1, 1, 1)
    (tmp_path / "a.nii").write_bytes(data)
    image = read_image(tmp_path / "a.nii")
    assert np.allclose(image.layout.affine, AFFINE)
    assert [text[:38] for text in image.warnings] == ["sform and qform differ by up to nan mm"]


def test_hu_are_clipped_to_int16(tmp_path: Path) -> None:
    image = np.zeros((2, 32, 32), np.float32)
    image[0, 0, :3] = -1e6, 1e6, 2.5
    path = tmp_path / "wide.nii.gz"
    nib.save(nib.Nifti1Image(image, AFFINE), path)
    read = nifti.read_nifti(path, EXPORT)
    assert read.hu[0, 0, :3].tolist() == [-32768, 32767, 2] and read.range_hu == (-32768, 32767)


def test_missing_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = write_case(tmp_path, 0, *blocky(0))
    if os.geteuid() == 0:  # root may read any file
        denied = PermissionError(errno.EACCES, "Permission denied", str(case.image))
        monkeypatch.setattr(nifti, "parse_layout", Mock(side_effect=denied))
    case.image.chmod(0)
    with pytest.raises(ValueError, match="cannot be read .Permission denied.; allow this user to read"):
        read_image(case.image)


def test_too_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> np.ndarray:
        raise MemoryError

    case = write_case(tmp_path, 0, *blocky(0))
    monkeypatch.setattr(Layout, "in_file_axes", full)
    with pytest.raises(ValueError, match=f"^{case.image}: does not fit into memory; read fewer cases"):
        read_image(case.image)


def test_the_layout(tmp_path: Path) -> None:
    case = write_case(tmp_path, 0, *blocky(0))
    layout = read_image(case.image).layout
    assert layout.turned_shape == (6, 64, 64) and layout.axes == "IPL" and not layout.warnings
    assert layout.spacing_mm == pytest.approx((3.0, 0.8, 0.8))
    assert read_label_volume(case.label).layout.turned_shape == (6, 64, 64)
    assert {case.image.name, case.label.name} == {IMAGE_NAME, LABEL_NAME}


def test_the_remedy_depends_on_the_origin(tmp_path: Path) -> None:
    """Predictions and CT of a hospital cannot be fetched again."""
    cut, text = tmp_path / "cut.nii.gz", tmp_path / "text.nii"
    nib.save(nib.Nifti1Image(np.ones((9, 9, 9), np.uint8), np.eye(4)), cut)
    cut.write_bytes(cut.read_bytes()[:-9])
    text.write_text("not a volume")
    for path, problem in ((cut, "is truncated after [0-9]+ bytes"), (text, "is not a NIfTI file: .*")):
        with pytest.raises(ValueError, match=f"{path}: {problem}; fetch it again$"):
            read_label_volume(path)
        with pytest.raises(ValueError, match=f"{path}: {problem}; write it again$"):
            read_label_volume(path, remedy="write it again")
        with pytest.raises(ValueError, match=f"{path}: {problem}; copy or export it again$"):
            read_image(path, remedy=EXPORT)
