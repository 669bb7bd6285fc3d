"""Series that cannot be read as a volume in HU are refused in one line, with the reason."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kitsseg.data.io.find_images import find_images
from tests.data.io.test_dicom import only
from tests.helpers.dicom import SAGITTAL, volume, write_series, write_slice

pydicom = pytest.importorskip("pydicom")
sitk = pytest.importorskip("SimpleITK")


def one_more(**tags: Any) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        write_slice(folder / "more", volume()[0], "1.2.5.1", (-20, -30, 118), **tags)

    return write


def cut_pixels(folder: Path) -> None:
    path = folder / "IM3"
    path.write_bytes(path.read_bytes()[:-2000])


def half_of_the_pixels(folder: Path) -> None:
    slice_ = pydicom.dcmread(folder / "IM3")
    slice_.PixelData = slice_.PixelData[: len(slice_.PixelData) // 2]
    slice_.save_as(folder / "IM3")


def all_with(**tags: Any) -> Callable[[Path], None]:
    return lambda folder: write_series(folder, **tags)


def test_another_type_of_values_is_a_warning(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", RescaleType="US")
    assert "its RescaleType is US, not HU; check that the values are HU" in only(tmp_path).warnings


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda folder: (folder / "IM3").unlink(), "has slices 3 mm apart, but 6 mm after slice 2"),
        (
            one_more(ImagePositionPatient=[-20.0, -30, 103]),
            "has two different slices at one position, .*more; pass the folder of each acquisition",
        ),
        (one_more(ImageOrientationPatient=list(SAGITTAL)), "has slices of several directions"),
        (one_more(PixelSpacing=[0.9, 0.7]), r"has pixels of \[0.7, 0.8, 0.9\] mm"),
        (one_more(Rows=32, PixelData=b"\0" * 32 * 56 * 2), r"has slices of several sizes, \[\(56, 32\)"),
        (one_more(ImagePositionPatient=None), "more lacks ImagePositionPatient"),
        (one_more(NumberOfFrames=5), "contains several frames in one file; convert it to NIfTI"),
        (cut_pixels, "IM3 cannot be decoded"),
        (half_of_the_pixels, "IM3 holds 3584 of 7168 bytes of pixels; copy or export it again"),
        (
            all_with(PhotometricInterpretation="MONOCHROME1"),
            "IM. has the .* MONOCHROME1; must be MONOCHROME2",
        ),
        (all_with(RescaleSlope=0), "IM. has a RescaleSlope of 0.*; must be above 0; export it again"),
        (all_with(RescaleSlope=-1), "IM. has a RescaleSlope of -1.*; must be above 0"),
        (all_with(RescaleIntercept=-2048), ".*almost all below -500 HU: there is no body"),
    ],
)
def test_series_that_are_no_volume(tmp_path: Path, spoil: Callable[[Path], None], text: str) -> None:
    write_series(tmp_path / "ct")
    spoil(tmp_path / "ct")
    with pytest.raises(ValueError, match=rf"ct \(series ct\): {text}") as refusal:
        only(tmp_path)
    assert "\n" not in str(refusal.value)


def named(folder: Path) -> str:
    """Return the only problem of a folder without a usable series."""
    found = find_images(folder)
    assert not found.scans
    (problem,) = found.problems.values()
    return problem


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda file: file.write_bytes(b""), "IM3 is empty: slices are lost; copy or export"),
        (lambda file: file.write_bytes(b"\0" * 100), "IM3 is cut off"),
        (lambda file: file.write_bytes(b"\0" * 5000), "IM3 is cut off or overwritten"),
        (lambda file: file.write_bytes(file.read_bytes()[:300]), "IM3 (is a damaged|lacks Rows)"),
        (lambda file: (file.unlink(), file.symlink_to("nosuch")), "IM3 is a link to nosuch, which does"),
        (lambda file: file.write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 50), "IM3 is a"),
    ],
)
def test_a_slice_that_cannot_be_used_loses_the_series(
    tmp_path: Path, spoil: Callable[[Path], None], text: str
) -> None:
    write_series(tmp_path / "ct")
    spoil(tmp_path / "ct" / "IM3")
    assert re.search(rf"ct \(series ct\): {text}", named(tmp_path))
    assert "\n" not in named(tmp_path)


def test_a_broken_link_of_another_kind_is_ignored(tmp_path: Path) -> None:
    write_series(tmp_path / "ct")
    for name in ("notes.txt", "Report.PDF"):
        (tmp_path / "ct" / name).symlink_to("nosuch")
    (scan,) = find_images(tmp_path).scans
    assert len(scan.files) == 6
    assert find_images(tmp_path).others == ("ct/Report.PDF", "ct/notes.txt")


@pytest.mark.parametrize("spoil", [lambda file: file.symlink_to("nosuch"), lambda file: file.touch()])
@pytest.mark.parametrize(("pattern", "lost"), [
    ("IM{}", "IM9"), ("{}.dcm", "9.DCM"), ("{}.txt", "9.txt"), ("1.2.840.{}", "1.2.840.9"),
    ("CT.1.2.{}.dcm", "CT.1.2.9.ima"), ("{}.dcm", "9.dicom"),
])  # fmt: skip
def test_a_broken_link_or_empty_file_like_a_slice(
    tmp_path: Path, pattern: str, lost: str, spoil: Callable[[Path], None]
) -> None:
    for k, plane in enumerate(volume()):
        write_slice(tmp_path / pattern.format(k), plane, "1.2.5", (0, 0, 3 * k))
    spoil(tmp_path / lost)
    assert re.search(f": {lost} (is a link to nosuch|is empty)", named(tmp_path))


def test_a_broken_link_without_an_ending(tmp_path: Path) -> None:
    for k, plane in enumerate(volume()):
        write_slice(tmp_path / f"{k}.dcm", plane, "1.2.5", (0, 0, 3 * k))
    (tmp_path / "done").touch()  # a mark
    assert find_images(tmp_path).others == ("done",)
    (tmp_path / "IM9").symlink_to("nosuch")
    assert "IM9 is a link to nosuch" in named(tmp_path)


def test_an_unreadable_folder_is_named_as_its_series_would_be(tmp_path: Path) -> None:
    write_series(tmp_path / "a b")
    assert [scan.name for scan in find_images(tmp_path).scans] == ["a-b"]
    for path in (tmp_path / "a b").iterdir():
        path.write_bytes(b"")
        path.rename(path.with_suffix(".dcm"))
    assert list(find_images(tmp_path).problems) == ["a-b"]


@pytest.mark.parametrize(
    ("direction", "text"),
    [
        ((2, 0, 0, 0, 1, 0), "lengths 2 and 1 and product 0"),
        ((1, 0, 0, 0, 0, 0), "lengths 1 and 0 and product 0"),
        ((1, 0, 0, 0, 0.997, 0), "lengths 1 and 0.997 and product 0"),
        ((1, 0, 0, 0.6, 0.8, 0), "lengths 1 and 1 and product 0.6"),
    ],
)
def test_directions_that_are_no_axes(tmp_path: Path, direction: tuple[float, ...], text: str) -> None:
    write_series(tmp_path / "ct", ImageOrientationPatient=list(direction))
    said = r"has an ImageOrientationPatient of \[.*\] with "
    with pytest.raises(ValueError, match=f"{said}{text}; must be 1, 1 and 0 up to 0.001; export"):
        only(tmp_path)


def test_rounded_directions(tmp_path: Path) -> None:
    """They are taken as they are."""
    write_series(tmp_path, ImageOrientationPatient=[1, 0, 0, 0, 0.9995, 0.0005])
    assert only(tmp_path).layout.affine[:3, 1] == pytest.approx((0, -0.8 * 0.9995, 0.8 * 0.0005))
