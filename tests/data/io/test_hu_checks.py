"""`kitsseg.data.io.read_scan.checked`: verify and prepare agree on implausible volumes."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from kitsseg.data.case import Case
from kitsseg.data.io.read_scan import read_image
from kitsseg.data.sources.inspection import BAD, OK, inspect
from kitsseg.data.sources.kits import Kits19
from kitsseg.data.store.prepare import prepare
from tests.conftest import AFFINE, blocky, write_case

HU, LABEL = blocky(0)


def scaled(slope: float, inter: float = 0, stored: np.ndarray = HU) -> Callable[[Case], None]:
    def save(case: Case) -> None:
        image = nib.Nifti1Image(stored, AFFINE)
        image.header.set_slope_inter(slope, inter)
        nib.save(image, case.image)

    return save


def image_of(array: np.ndarray) -> Callable[[Case], None]:
    return lambda case: nib.save(nib.Nifti1Image(array, AFFINE), case.image)


def far_slices(case: Case) -> None:
    affine = AFFINE @ np.diag([9523 / 3, 1, 1, 1])
    nib.save(nib.Nifti1Image(HU, affine), case.image)
    nib.save(nib.Nifti1Image(LABEL, affine), case.label)


def swapped(case: Case) -> None:
    between = case.image.with_name("between")
    case.image.rename(between)
    case.label.rename(case.image)
    between.rename(case.label)


def with_column(value: int) -> np.ndarray:
    return np.where(np.arange(64) == 9, value, HU.astype(np.int32))


NORMALISED = ((np.clip(HU, -100, 300) + 100) / 400).astype(np.float32)
REFUSED: dict[str, tuple[Callable[[Case], None], str]] = {
    "slices far apart": (
        far_slices,
        r"has a spacing of \(9523.* mm; must be between 0.1 and 50; correct its header",
    ),
    "a slope of 1e30": (
        scaled(1e30),
        r"contains values from -1.024e\+33 to .*, outside the range of HU; correct its",
    ),
    "one voxel that is clipped": (
        image_of(with_column(40000)),
        "contains values from -1024 to 40000, outside the range of HU",
    ),
    "normalised to 0-1": (
        image_of(NORMALISED),
        "contains values from 0 to .*, less than 100 apart.*export it",
    ),
    "normalised to mean 0": (
        image_of((NORMALISED * 6 - 3).round(2)),
        "contains values from -3 to 1.62, .*; export it in HU, without normalisation",
    ),
    "the label in its place": (swapped, "contains values from 0 to 2, .*; exchange image and label"),
    "an offset": (
        image_of((HU + 1024).astype(np.uint16)),
        "contains many values near 1024 and none below",
    ),
    "an offset and padding": (
        image_of(np.where(np.arange(64) < 20, -2000, HU + 1024).astype(np.int16)),
        "contains many values near 1024 and none below 0 but padding: .*source.offset_hu=-1024",
    ),
    "padding of 62512": (image_of(with_column(62512)), "contains values from .* to 62512, outside the"),
    "all below -500": (image_of(HU - 1024), "contains values .*, almost all below -500 HU: there is no"),
    "constant": (image_of(HU * 0), "every voxel has the same value; export it again"),
}
ACCEPTED: dict[str, Callable[[Case], None]] = {
    "padding below int16": scaled(1, -1024, (with_column(-32768 - 1024) + 1024).astype(np.int16)),
    "the highest HU of an extended scale": image_of(with_column(30710).astype(np.int16)),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_implausible_values_are_refused(tmp_path: Path, kind: str) -> None:
    spoil, text = REFUSED[kind]
    case = write_case(tmp_path / "raw", 0, HU, LABEL)
    spoil(case)
    finding = inspect(case)
    with pytest.raises(ValueError, match=rf"^{case.image}: {text}") as refusal:
        prepare([case], tmp_path / "store", None)
    assert finding.state == BAD and str(refusal.value) in finding.problems


@pytest.mark.parametrize("kind", ACCEPTED)
def test_unusual_but_possible_values_are_accepted(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    case = write_case(tmp_path / "raw", 0, HU, LABEL)
    ACCEPTED[kind](case)
    assert inspect(case).state == OK
    assert prepare([case], tmp_path / "store", None).ids == ["case_00000"]
    assert not caplog.messages


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_doubtful_is_a_note_and_a_warning(
    tmp_path: Path, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    window = np.clip(HU, -100, 255)
    cases = [write_case(tmp_path / "raw", number, window, LABEL) for number in range(3)]
    finding = inspect(cases[0])
    text = "lowest value -100 HU: no air; check that the values are HU"
    assert finding.state == OK and finding.notes == [text]
    store = prepare(cases, tmp_path / "store", None, workers)
    assert [card["warnings"] for card in store.cards] == [[text]] * 3
    assert caplog.messages == [f"{cases[0].image} and 2 other files: {text}"]


def test_the_remedy_for_an_offset_works(tmp_path: Path) -> None:
    case = write_case(tmp_path / "raw", 0, (HU + 1024).astype(np.uint16), LABEL)
    corrected = Kits19(offset_hu=-1024).case(case.image.parent)
    assert inspect(corrected).state == OK
    store = prepare([corrected], tmp_path / "store", None)
    assert np.array_equal(store.images(0), HU)
    with pytest.raises(ValueError, match="probably CT stored with an offset"):
        prepare([case], tmp_path / "store", None)  # the prepared case was read with an offset


def test_an_offset_beyond_int16(tmp_path: Path) -> None:
    """The offset is added before clipping, which would cut soft tissue off."""
    case = write_case(tmp_path / "raw", 0, (HU.astype(int) + 32768).astype(np.uint16), LABEL)
    assert np.array_equal(read_image(case.image, offset_hu=-32768).hu, HU)


def test_a_label_of_background_alone_is_bad_and_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """KiTS19 has no such case, but another data set may contain patients without kidneys."""
    case = write_case(tmp_path / "raw", 0, HU, LABEL * 0)
    (problem,) = inspect(case).problems
    assert problem.startswith(f"{case.label}: ") and "background" in problem
    assert prepare([case], tmp_path / "store", None).ids == ["case_00000"]
    assert caplog.messages == [
        f"{case.label}: contains only background; fetch it again, or exclude the case"
    ]
