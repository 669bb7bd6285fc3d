"""`kitsseg.data.io.dicom_seg`: other programs read what is written."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from kitsseg.data.drawing import bgr
from kitsseg.data.io.find_images import find_images
from kitsseg.data.io.nifti.header import Layout
from kitsseg.data.io.read_scan import read_scan
from kitsseg.data.io.scan import Scan
from kitsseg.data.labels import KITS19
from tests.helpers.dicom import SAGITTAL, write_series

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")


def saved(folder: Path, empty: bool = False, **series: Any) -> tuple[Scan, np.ndarray, Layout]:
    """Write ``seg.dcm``; return the series, the label ``[S, H, W]`` and the layout."""
    from kitsseg.data.io.dicom_seg import save_seg

    write_series(folder / "ct", **series)
    (scan,) = find_images(folder).scans
    image = read_scan(scan)
    label = np.zeros(image.hu.shape, np.uint8)
    if not empty:
        s, h, w = label.shape
        label[1 : s - 2, h // 6 : h // 2, w // 6 : w // 2] = 1
        label[2, h // 5 : h // 4, w // 5 : w // 4] = 2
    save_seg(scan, label, image.layout, KITS19, folder / "seg.dcm")
    return scan, label, image.layout


def program(name: str) -> str:
    """Return the path of a program; skip the test if it is not installed."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    return found if found is not None else pytest.skip(f"{name} is not installed")


@pytest.mark.parametrize("step", [(0, 0, 3), (0, 0, -3), (0, 0.5, 3)])
@pytest.mark.parametrize("empty", [False, True])
def test_a_segmentation_object_refers_to_its_slices(
    tmp_path: Path, step: Sequence[float], empty: bool
) -> None:
    scan, label, layout = saved(tmp_path, empty, step=step)
    seg = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert seg.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.4"
    assert seg.StudyInstanceUID == "1.2.3" and seg.FrameOfReferenceUID == "1.2.4"
    assert [d.segment_label for d in map(seg.get_segment_description, (1, 2))] == ["kidney", "tumour"]
    uids = [pydicom.dcmread(path).SOPInstanceUID for path in scan.files]
    frames = seg.get_pixels_by_source_instance(
        uids, combine_segments=True, ignore_spatial_locations=True,
        assert_missing_frames_are_empty=True,
    )  # fmt: skip
    own = layout.in_file_axes(label).transpose(2, 1, 0)
    assert np.array_equal(frames, own) and frames.any() != empty


@pytest.mark.parametrize(
    "series",
    [
        {},
        {"step": (0, 0, -3)},
        {"step": (3, 0, 0), "ImageOrientationPatient": list(SAGITTAL)},
        {"step": (0, -0.6, 3), "ImageOrientationPatient": [1, 0, 0, 0, 0.9805807, 0.1961161]},
    ],
)
def test_slicers_reader_puts_the_labels_where_they_were(tmp_path: Path, series: dict[str, Any]) -> None:
    """3D Slicer reads segmentation objects with dcmqi."""
    reader = program("segimage2itkimage")
    _, label, layout = saved(tmp_path, **series)
    (tmp_path / "out").mkdir()
    done = subprocess.run(
        [reader, "--inputDICOM", tmp_path / "seg.dcm", "--outputDirectory", tmp_path / "out",
         "--outputType", "nii", "--mergeSegments"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "absent" not in done.stderr and "Failed" not in done.stderr
    (path,) = (tmp_path / "out").glob("*.nii.gz")
    out = nib.load(path)
    # dcmqi omits empty slices at the ends, so voxels are compared by position.
    own = np.asarray(layout.in_file_axes(label))
    values = np.asanyarray(out.dataobj)
    inside = np.argwhere(values >= 0)
    places = np.linalg.inv(layout.affine) @ out.affine @ np.c_[inside, np.ones(len(inside))].T
    assert np.abs(places - places.round()).max() < 0.02
    i, j, k = places[:3].round().astype(int)
    assert np.array_equal(own[i, j, k], values.ravel())
    assert np.count_nonzero(values) == np.count_nonzero(own) > 100
    about = json.loads((tmp_path / "out" / "meta.json").read_text())
    segments = {each["labelID"]: each for group in about["segmentAttributes"] for each in group}
    assert {n: each["SegmentLabel"] for n, each in segments.items()} == {1: "kidney", 2: "tumour"}
    kinds = [segments[n]["SegmentedPropertyTypeCodeSequence"]["CodeMeaning"] for n in (1, 2)]
    assert kinds == ["Kidney", "Neoplasm"]
    colours = [segments[n]["recommendedDisplayRGBValue"] for n in (1, 2)]
    assert np.abs(np.array(colours) - [bgr(KITS19, 1)[::-1], bgr(KITS19, 2)[::-1]]).max() <= 2


@pytest.mark.parametrize("empty", [False, True])
def test_a_validator_finds_no_error(tmp_path: Path, empty: bool) -> None:
    """dciodvfy of dicom3tools checks an object against the standard."""
    saved(tmp_path, empty, StudyTime="101500")
    done = subprocess.run([program("dciodvfy"), tmp_path / "seg.dcm"], capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "Segmentation" in said
    assert "Error" not in said and "Warning" not in said, said
