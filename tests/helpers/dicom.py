"""Small CT series in DICOM format."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import blocky

pydicom = pytest.importorskip("pydicom")
sitk = pytest.importorskip("SimpleITK")

CT = "1.2.840.10008.5.1.4.1.1.2"
MR, SR, CAPTURE = (f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("4", "88.11", "7"))
AXIAL = (1, 0, 0, 0, 1, 0)
SAGITTAL = (0, 1, 0, 0, 0, -1)


def write_slice(path: Path, hu: np.ndarray, uid: str, place: Sequence[float], **tags: Any) -> None:
    """Write a CT slice ``[rows, columns]`` with an intercept of -1024."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = CT
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    slice_ = pydicom.dataset.FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    fixed = dict(
        SOPClassUID=CT, SOPInstanceUID=meta.MediaStorageSOPInstanceUID, SeriesInstanceUID=uid,
        StudyInstanceUID="1.2.3", FrameOfReferenceUID="1.2.4", Modality="CT", SeriesNumber=1,
        PatientID="7", PatientName="A^B", PatientBirthDate="", PatientSex="", StudyDate="20190101",
        StudyTime="", StudyID="1", AccessionNumber="", ReferringPhysicianName="", InstanceNumber=1,
        Manufacturer="x", ImageType=["ORIGINAL", "PRIMARY", "AXIAL"], PositionReferenceIndicator="",
        Rows=hu.shape[0], Columns=hu.shape[1], PixelSpacing=[0.8, 0.7], SliceThickness=3,
        ImageOrientationPatient=list(AXIAL), ImagePositionPatient=[float(x) for x in place],
        SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", BitsAllocated=16, BitsStored=16,
        HighBit=15, PixelRepresentation=0, RescaleIntercept=-1024, RescaleSlope=1,
        PixelData=(hu.astype(int) + 1024).astype("<u2").tobytes(),
    )  # fmt: skip
    for name, value in (fixed | tags).items():
        if value is not None:
            setattr(slice_, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    slice_.save_as(path, enforce_file_format=True)


def volume() -> np.ndarray:
    """Return ``[6, 64, 56]`` HU; all slices differ."""
    return blocky(3)[0][:, :, :56]


def write_series(
    folder: Path, uid: str = "1.2.5.1", step: Sequence[float] = (0, 0, 3), **tags: Any
) -> None:
    """Write `volume` from foot to head, with unsorted file names."""
    for k, plane in enumerate(volume()):
        place = np.array([-20.0, -30, 100]) + k * np.array(step)
        write_slice(folder / f"IM{(k * 5) % 7}", plane, uid, place, InstanceNumber=9 - k, **tags)
