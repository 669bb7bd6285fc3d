"""`kitsseg.data.io.dicom`: series are found, sorted and read in HU."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kitsseg.data.io.find_images import find_images
from kitsseg.data.io.nifti.read import Image
from kitsseg.data.io.read_scan import read_scan
from kitsseg.system import optional_packages
from tests.helpers.dicom import AXIAL, CAPTURE, MR, SAGITTAL, SR, volume, write_series, write_slice

pydicom = pytest.importorskip("pydicom")
sitk = pytest.importorskip("SimpleITK")


def only(folder: Path) -> Image:
    (scan,) = find_images(folder).scans
    return read_scan(scan)


def by_simpleitk(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return ``[k, j, i]`` HU and the RAS affine, as read by SimpleITK."""
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    image = sitk.ReadImage(names)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image), np.diag([-1, -1, 1, 1]) @ affine


@pytest.mark.parametrize(
    ("direction", "step"),
    [(AXIAL, (0, 0, 3)), (AXIAL, (0, 0, -3)), (SAGITTAL, (3, 0, 0)), ((0, 1, 0, 1, 0, 0), (0, 0, 2.5))],
)
def test_agrees_with_simpleitk(
    tmp_path: Path, direction: Sequence[float], step: Sequence[float]
) -> None:
    write_series(tmp_path / "ct", step=step, ImageOrientationPatient=list(direction))
    image = only(tmp_path)
    values, affine = by_simpleitk(tmp_path / "ct")
    assert np.array_equal(image.layout.in_file_axes(image.hu).transpose(2, 1, 0), values)
    assert np.allclose(image.layout.affine, affine)
    assert np.array_equal(np.sort(values, axis=None), np.sort(volume(), axis=None))
    assert image.range_hu == (int(volume().min()), int(volume().max()))


def test_axial_slices_by_hand(tmp_path: Path) -> None:
    write_series(tmp_path)
    image = only(tmp_path)
    assert np.array_equal(image.hu, volume()[::-1])  # from head to foot; rows from the front already
    assert image.layout.spacing_mm == pytest.approx((3, 0.8, 0.7))
    assert image.layout.voxel_ml == pytest.approx(3 * 0.8 * 0.7 / 1000)


def test_a_tilted_gantry(tmp_path: Path) -> None:
    write_series(tmp_path, step=(0, 0.5, 3))
    layout = only(tmp_path).layout
    assert np.allclose(layout.affine[:3, 2], (0, -0.5, 3))
    assert layout.voxel_ml == pytest.approx(3 * 0.8 * 0.7 / 1000)  # a parallelepiped's


def test_compressed_slices(tmp_path: Path) -> None:
    write_series(tmp_path / "plain")
    for path in (tmp_path / "plain").iterdir():
        slice_ = pydicom.dcmread(path)
        slice_.compress(pydicom.uid.RLELossless)
        (tmp_path / "packed").mkdir(exist_ok=True)
        slice_.save_as(tmp_path / "packed" / path.name)
    assert np.array_equal(only(tmp_path / "packed").hu, volume()[::-1])


def test_several_series_and_stray_files(tmp_path: Path) -> None:
    write_series(tmp_path / "a", "1.2.5.1")
    write_series(tmp_path / "b c" / "d", "1.2.5.2")
    for number in (3, 4):
        for k, plane in enumerate(volume()):
            path = tmp_path / "e" / f"{number}-{k}.dcm"
            write_slice(path, plane, f"1.2.5.{number}", (0, 0, k), SeriesNumber=number)
    write_slice(
        tmp_path / "a" / "scout", volume()[0], "1.2.9", (0, 0, 0), ImageType=["X", "Y", "LOCALIZER"]
    )
    write_slice(tmp_path / "mr", volume()[0], "1.2.8", (0, 0, 0), SOPClassUID=MR, Modality="MR")
    write_slice(tmp_path / "report", volume()[0], "1.2.7", (0, 0, 0), SOPClassUID=SR, Rows=None)
    # A secondary capture in the series itself.
    write_slice(tmp_path / "a" / "page", volume()[0], "1.2.5.1", (0, 0, 0), SOPClassUID=CAPTURE)
    (tmp_path / "a" / "README").write_text("text without an ending, as the slices")
    found = find_images(tmp_path)
    assert [scan.name for scan in found.scans] == ["a", "b-c-d", "e_3", "e_4"]
    assert [len(scan.files) for scan in found.scans] == [6, 6, 6, 6]
    assert len(found.others) == 5 and not found.problems
    for scan in found.scans:
        assert read_scan(scan).hu.shape == (6, 64, 56)


def test_a_single_slice(tmp_path: Path) -> None:
    write_slice(tmp_path / "a" / "IM1", volume()[3], "1.2.5", (0, 0, 0))
    assert only(tmp_path / "a").layout.spacing_mm[0] == 3 and not only(tmp_path / "a").warnings
    for k, thickness in enumerate((None, 0, -3)):
        write_slice(tmp_path / f"{k}" / "IM1", volume()[3], "1.2.5", (0, 0, 0), SliceThickness=thickness)
        image = only(tmp_path / f"{k}")
        assert image.layout.spacing_mm[0] == 1
        assert image.warnings == ("it is a single slice of unknown thickness; volumes assume 1 mm",)


def test_links_missing_tags_and_preambles(tmp_path: Path) -> None:
    write_series(tmp_path / "store" / "1", Modality=None, SeriesInstanceUID=None)
    write_series(tmp_path / "plain" / "2", "1.2.5.2")
    for path in (tmp_path / "plain" / "2").iterdir():
        path.write_bytes(path.read_bytes()[132:])  # no preamble
    write_series(tmp_path / "plain" / "3", "1.2.5.3")
    for path in (tmp_path / "plain" / "3").iterdir():
        path.rename(path.with_suffix(".DCM"))
    (tmp_path / "plain" / "linked").symlink_to(tmp_path / "store" / "1")
    (tmp_path / "plain" / "linked" / "loop").symlink_to(tmp_path / "plain")
    found = find_images(tmp_path / "plain")
    assert [scan.name for scan in found.scans] == ["2", "3", "linked"] and not found.problems
    for scan in found.scans:
        assert np.array_equal(read_scan(scan).hu, volume()[::-1])


def test_series_whose_results_would_share_a_name(tmp_path: Path) -> None:
    """The folders differ by a character that names cannot hold; numbers and UID ends are equal."""
    write_series(tmp_path / "a b", "1.2.5.1.12345678")
    write_series(tmp_path / "a-b", "1.2.5.2.12345678")
    found = find_images(tmp_path)
    assert not found.scans and set(found.problems) == {str(tmp_path / "a b"), str(tmp_path / "a-b")}
    assert "its results would be named a-b_1_12345678" in found.problems[str(tmp_path / "a b")]


def test_folders_that_differ_in_case(tmp_path: Path) -> None:
    write_series(tmp_path / "CT", "1.2.5.1.11111111")
    write_series(tmp_path / "ct", "1.2.5.2.22222222", SeriesNumber=2)
    assert [scan.name for scan in find_images(tmp_path).scans] == ["CT_1", "ct_2"]


def test_copies_are_ignored_and_named(tmp_path: Path) -> None:
    write_series(tmp_path / "ct")
    shutil.copy(tmp_path / "ct" / "IM3", tmp_path / "ct" / "IM3 - Copy")
    assert np.array_equal(only(tmp_path).hu, volume()[::-1])
    assert only(tmp_path).warnings[0] == "1 files are copies of others and ignored"
    changed = pydicom.dcmread(tmp_path / "ct" / "IM3")
    changed.PatientName = "C^D"
    changed.save_as(tmp_path / "ct" / "IM3")
    (problem,) = find_images(tmp_path).problems.values()
    assert "have one SOP instance UID, but differ" in problem


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (lambda k: round(0.625 * k, 1), None),  # rounded positions
        (
            lambda k: 2.5 * k if k < 3 else 5 * k - 7.5,
            "has slices 2.5 to 5 mm apart; a volume",
        ),
        (
            lambda k: 3 * (k + (k > 2)),
            "has slices 3 mm apart, but 6 mm after slice 3: slices",
        ),
    ],
)
def test_distances(tmp_path: Path, place: Callable[[int], float], text: str | None) -> None:
    for k, plane in enumerate(volume()):
        write_slice(tmp_path / f"{k}", plane, "1.2.5", (0, 0, place(k)), InstanceNumber=k + 1)
    if text is None:
        assert only(tmp_path).hu.shape == volume().shape
    else:
        with pytest.raises(ValueError, match=text):
            only(tmp_path)


def test_padding_is_air(tmp_path: Path) -> None:
    """-2000 as an unsigned number would be 62512 HU, bone; tags say that it means "no value"."""
    hu = volume().astype(int)
    hu[:, :, :9] = 62512
    for k, plane in enumerate(hu):
        tags = {"PixelPaddingValue": 63536, "InstanceNumber": k + 4}
        write_slice(tmp_path / f"{k}", plane, "1.2.5", (0, 0, 3 * k), **tags)
    image = only(tmp_path)
    assert (image.hu[:, :, :9] == -1024).all() and image.range_hu[1] == volume()[:, :, 9:].max()
    assert np.array_equal(image.hu[:, :, 9:], volume()[::-1, :, 9:])
    assert image.warnings == (
        "its instance numbers begin at 4: slices may be missing at one end",
        f"{6 * 64 * 9} voxels have the PixelPaddingValue and are read as air",
    )


def damaged(tag: int, vr: str, stored: bytes) -> Any:
    """Return an element whose value pydicom cannot convert."""
    return pydicom.dataelem.RawDataElement(pydicom.tag.Tag(tag), vr, len(stored), stored, 0, False, True)


@pytest.mark.parametrize(
    ("tag", "vr", "stored", "text"),
    [
        (0x00280010, "US", b"abc", "IM3 lacks Rows; it may be cut off"),
        (0x00200032, "DS", b"0\\\\5 ", "IM3 lacks ImagePositionPatient of 3 numbers"),
        (0x00280030, "DS", b"x\\0.7 ", "IM3 lacks PixelSpacing of 2 numbers"),
        (0x00200011, "IS", b"abc ", None),
        (0x00280120, "US", b"abc", None),
    ],
)
def test_damaged_values(tmp_path: Path, tag: int, vr: str, stored: bytes, text: str | None) -> None:
    """An exception of pydicom would end the run; a value that no volume needs may be missing."""
    write_series(tmp_path / "ct")
    slice_ = pydicom.dcmread(tmp_path / "ct" / "IM3")
    slice_[tag] = damaged(tag, vr, stored)
    with pydicom.filebase.DicomBytesIO() as file:
        slice_.save_as(file)
        (tmp_path / "ct" / "IM3").write_bytes(file.getvalue())
    if text is None:
        assert np.array_equal(only(tmp_path).hu, volume()[::-1])
        return
    found = find_images(tmp_path)
    with pytest.raises(ValueError, match=text):
        raise ValueError(*found.problems.values()) if found.problems else read_scan(found.scans[0])


def test_a_localiser_of_a_single_image_type(tmp_path: Path) -> None:
    write_series(tmp_path / "ct")
    write_slice(tmp_path / "ct" / "scout", volume()[0], "1.2.9", (0, 0, 0), ImageType="LOCALIZER")
    assert [scan.name for scan in find_images(tmp_path).scans] == ["ct"]


def test_no_ct_at_all(tmp_path: Path) -> None:
    write_slice(tmp_path / "mr", volume()[0], "1.2.8", (0, 0, 0), SOPClassUID=MR, Modality="MR")
    with pytest.raises(ValueError, match="or DICOM files of CT$"):
        find_images(tmp_path)


def test_a_missing_package_gets_a_line() -> None:
    with pytest.raises(ValueError, match=r"reading DICOM needs nosuch.*pip install 'kitsseg\[dicom\]'"):
        optional_packages.require("nosuch.module", "dicom", "reading DICOM")
