"""Writing of label volumes as DICOM segmentation objects that refer to their source series."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import kitsseg
from kitsseg.data.drawing import bgr
from kitsseg.data.io.nifti.header import Layout
from kitsseg.data.io.scan import Scan
from kitsseg.data.labels import Labels
from kitsseg.system.files import replacing
from kitsseg.system.optional_packages import require

USE = "writing DICOM SEG"
MAY_BE_EMPTY = (  # attributes of type 2, which anonymisation removes and highdicom copies
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator",
)  # fmt: skip


def save_seg(
    scan: Scan, turned: npt.NDArray[np.uint8], layout: Layout, labels: Labels, path: Path
) -> None:
    """Write the class ids ``[S, H, W]`` of a series as a DICOM SEG file, atomically.

    Raises `ValueError` if a package or a required attribute of the series is missing.
    """
    highdicom = require("highdicom", "dicom", USE)
    pydicom = require("pydicom", "dicom", USE)
    logging.getLogger("highdicom").setLevel(logging.ERROR)  # it reports attributes and empty frames
    frames = np.ascontiguousarray(layout.in_file_axes(turned).transpose(2, 1, 0))
    distance_mm = float(np.linalg.norm(layout.affine[:3, 2]))
    try:
        sources = [pydicom.dcmread(file, stop_before_pixels=True, force=True) for file in scan.files]
        for source in sources:
            source.decode()
            source.SpecificCharacterSet = "ISO_IR 192"  # UTF-8
            for name in MAY_BE_EMPTY:
                if name not in source:
                    setattr(source, name, None)
            if getattr(source, "SliceThickness", None) is None:
                source.SliceThickness = distance_mm
            # highdicom compares to the last digit; reading has checked the difference.
            source.ImageOrientationPatient = sources[0].ImageOrientationPatient
        segmentation = highdicom.seg.Segmentation(
            source_images=sources,
            pixel_array=frames,
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=_descriptions(highdicom, labels),
            series_instance_uid=highdicom.UID(),
            series_number=int(getattr(sources[0], "SeriesNumber", None) or 0) + 9000,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer="kitsseg",
            manufacturer_model_name="kitsseg",
            software_versions=kitsseg.__version__,
            device_serial_number="0",
            content_label="_".join(labels.classes[1:]).upper()[:16],
            series_description=f"{', '.join(labels.classes[1:])} (kitsseg)"[:64],
        )
        segmentation.ContentCreatorName = ""  # required, may be empty
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            segmentation.save_as(temporary)
    except OSError:
        raise
    except Exception as error:  # highdicom raises many types for unusual series
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"no DICOM SEG ({reason}); the label volume is complete; repair the attribute or set "
            "dicom_seg=false"
        ) from error


def _descriptions(highdicom: Any, labels: Labels) -> list[Any]:
    """Return one description per class; the target region is an abnormality of the first other class."""
    codes = require("pydicom.sr.codedict", "dicom", USE).codes
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name="kitsseg", version=kitsseg.__version__, family=codes.cid7162.ArtificialIntelligence
    )
    known = {
        name: highdicom.sr.CodedConcept(code[0], "SCT", code[1]) for name, code in labels.codes.items()
    }
    targets = set(labels.ids(labels.target))
    organs = [name for i, name in enumerate(labels.classes) if i and i not in targets]
    organ = [known[name] for name in organs[:1] if name in known]
    descriptions = []
    for number, name in list(enumerate(labels.classes))[1:]:
        is_abnormal = bool(organs) and number in targets
        category = codes.SCT.MorphologicallyAbnormalStructure
        descriptions.append(
            highdicom.seg.SegmentDescription(
                segment_number=number,
                segment_label=name,
                segmented_property_category=category if is_abnormal else codes.SCT.AnatomicalStructure,
                segmented_property_type=known.get(name, codes.SCT.Tissue),
                algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
                algorithm_identification=algorithm,
                anatomic_regions=organ if is_abnormal and organ else None,
                display_color=highdicom.color.CIELabColor.from_rgb(*reversed(bgr(labels, number))),
            )
        )
    return descriptions
