"""Malformed files: each kind raises a message of one line with problem and remedy."""

import gzip
import os
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from kitsseg.data.case import Case
from kitsseg.data.io.nifti.read import check_same_grid, read_label_volume
from kitsseg.data.io.read_scan import read_image
from tests.conftest import AFFINE, blocky, write_case


def header_with(path: Path, offset: int, value: bytes) -> None:
    """Overwrite bytes in the header of a compressed file."""
    data = bytearray(gzip.decompress(path.read_bytes()))
    data[offset : offset + len(value)] = value
    path.write_bytes(gzip.compress(bytes(data), 1))


def in_version_2(case: Case) -> None:
    nib.save(nib.Nifti2Image(blocky(0)[0], AFFINE), case.image)
    header_with(case.image, 168, struct.pack("<q", 352))


def unpacked_with_too_large_a_shape(case: Case) -> None:
    """Write an uncompressed, sparse file of 200 MB under the name of a compressed one."""
    header_with(case.image, 42, struct.pack("<3h", 30000, 30000, 100))
    case.image.write_bytes(gzip.decompress(case.image.read_bytes()))
    os.truncate(case.image, 200 << 20)


def image_of(array: np.ndarray, affine: np.ndarray = AFFINE) -> Callable[[Case], None]:
    return lambda case: nib.save(nib.Nifti1Image(array, affine), case.image)


def label_of(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Case], None]:
    return lambda case: nib.save(nib.Nifti1Image(change(blocky(0)[1]), AFFINE), case.label)


def with_nan(case: Case, value: float = np.nan) -> None:
    image = blocky(0)[0].astype(np.float32)
    image[3, 5, 7] = value
    nib.save(nib.Nifti1Image(image, AFFINE), case.image)


def cut(count: int) -> Callable[[Case], None]:
    return lambda case: case.image.write_bytes(case.image.read_bytes()[:count]) and None


def short_of_voxels(case: Case) -> None:
    data = gzip.decompress(case.image.read_bytes())
    case.image.write_bytes(gzip.compress(data[:-100], 1))


def flipped_bit(case: Case) -> None:
    data = bytearray(case.image.read_bytes())
    data[len(data) // 2] ^= 0x10
    case.image.write_bytes(bytes(data))


def wrong_checksum(case: Case) -> None:
    data = bytearray(case.image.read_bytes())
    data[-6] ^= 0xFF
    case.image.write_bytes(bytes(data))


def moved(mm: float) -> Callable[[Case], None]:
    affine = AFFINE.copy()
    affine[0, 3] = mm
    return lambda case: nib.save(nib.Nifti1Image(blocky(0)[1], affine), case.label)


def other_spacing(case: Case) -> None:
    nib.save(nib.Nifti1Image(blocky(0)[1], AFFINE @ np.diag([2, 1, 1, 1])), case.label)


def rgb(case: Case) -> None:
    array = np.zeros((6, 64, 64), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(array, AFFINE), case.image)


def no_extension(path: Path) -> Callable[[Case], None]:
    return lambda case: case.image.rename(path)


def unreadable(case: Case) -> None:
    case.image.unlink()
    case.image.mkdir()


IMAGE, LABEL = "imaging", "segmentation"
# First words of the remedies.
REMEDIES = "fetch|write|replace|allow|export|convert|correct|relabel|set|exchange"
MALFORMED: dict[str, tuple[Callable[[Case], object], str, str]] = {
    "empty file": (lambda c: c.image.write_bytes(b""), IMAGE, "is empty"),
    "html page": (
        lambda c: c.image.write_text("<!DOCTYPE html><html>404"),
        "imaging",
        "is not a NIfTI file.*DOCTYPE",
    ),
    "git lfs pointer": (
        lambda c: c.image.write_text("version https://git-lfs"),
        "imaging",
        "is not a NIfTI file",
    ),
    "gzip of text": (
        lambda c: c.image.write_bytes(gzip.compress(b"hello" * 99)),
        "imaging",
        "is not a NIfTI file",
    ),
    "compressed twice": (
        lambda c: c.image.write_bytes(gzip.compress(c.image.read_bytes())),
        "imaging",
        "compressed twice",
    ),
    "cut off in the gzip header": (cut(5), IMAGE, "is truncated after 5 bytes"),
    "cut off in the nifti header": (cut(60), IMAGE, "is truncated after 60 bytes"),
    "cut off in the voxels": (cut(2000), IMAGE, "is truncated after 2000 bytes; fetch it again"),
    "a few voxels short": (short_of_voxels, IMAGE, "ends before the last voxel"),
    "a flipped bit": (flipped_bit, IMAGE, "(is damaged|is not a NIfTI file|ends before|is truncated)"),
    "a wrong checksum": (wrong_checksum, IMAGE, "is damaged"),
    "a folder in its place": (unreadable, IMAGE, r"cannot be read .Is a directory.; replace the folder"),
    "missing": (
        lambda c: c.image.unlink(),
        IMAGE,
        "cannot be read .No such file or directory.; fetch it again",
    ),
    "a header of another magic": (
        lambda c: header_with(c.image, 344, b"ni1\0"),
        "imaging",
        "half of a .hdr/.img pair",
    ),
    "voxels before the file": (
        lambda c: header_with(c.image, 108, struct.pack("<f", -16)),
        "imaging",
        r"damaged header .voxel offset -16; at least 352",
    ),
    "voxels from the first byte": (
        lambda c: header_with(c.image, 108, bytes(4)),
        "imaging",
        r"damaged header .voxel offset 0; at least 352",
    ),
    "voxels in the header of version 2": (
        in_version_2,
        "imaging",
        r"damaged header .voxel offset 352; at least 544",
    ),
    "an unknown number type": (
        lambda c: header_with(c.image, 70, b"\x39\x30"),
        "imaging",
        "damaged header",
    ),
    "no dimensions": (
        lambda c: header_with(c.image, 40, bytes(2)),
        IMAGE,
        "has 1 dimensions.*; export the whole series",
    ),
    "a dimension of zero": (lambda c: header_with(c.image, 44, bytes(2)), IMAGE, "has no voxels"),
    "a negative dimension": (
        lambda c: header_with(c.image, 42, struct.pack("<h", -6)),
        "imaging",
        "(has no voxels|damaged)",
    ),
    "more voxels than bytes": (
        lambda c: header_with(c.image, 42, struct.pack("<3h", 30000, 30000, 30000)),
        "imaging",
        "more than the file can contain",
    ),
    "more voxels than bytes, unpacked": (
        unpacked_with_too_large_a_shape,
        "imaging",
        r"has shape \(30000, 30000, 100\) in its header, more than the file can contain; fetch it again",
    ),
    "four dimensions": (
        image_of(np.zeros((6, 64, 64, 2), np.int16)),
        IMAGE,
        "has 4 dimensions.*; export one volume",
    ),
    "two dimensions": (
        image_of(np.zeros((64, 64), np.int16)),
        IMAGE,
        "has 2 dimensions.*; export the whole series",
    ),
    "zero spacing": (
        lambda c: (
            header_with(c.image, 76 + 8, bytes(4)),
            header_with(c.image, 252, bytes(4)),
            header_with(c.image, 280, bytes(48)),
        ),
        "imaging",
        "(has a spacing of|zero axis)",
    ),
    "an affine of zeros": (
        lambda c: header_with(c.image, 280, bytes(48)),
        "imaging",
        "has a spacing of",
    ),
    "an affine with nan": (
        lambda c: header_with(c.image, 280, struct.pack("<f", float("nan"))),
        "imaging",
        "has a spacing of",
    ),
    "an endless intercept": (
        lambda c: header_with(c.image, 112, struct.pack("<2f", 1, float("inf"))),
        "imaging",
        "damaged header",
    ),
    "complex numbers": (
        image_of(np.ones((6, 64, 64), np.complex64)),
        "imaging",
        "contains complex64 values; export HU or labels",
    ),
    "colours": (rgb, IMAGE, "export HU or labels, as integers or floats"),
    "nan": (with_nan, IMAGE, "contains NaN or infinite values"),
    "infinity": (lambda c: with_nan(c, np.inf), IMAGE, "contains NaN or infinite values"),
    "constant": (
        image_of(np.full((6, 64, 64), 7, np.int16)),
        "imaging",
        "every voxel has the same value",
    ),
    "label: other shape": (
        label_of(lambda a: a[:-1]),
        "segmentation",
        r"has shape \(5, 64, 64\), its image \(6, 64, 64\)",
    ),
    "label: turned": (label_of(lambda a: a[:, :, :60]), LABEL, "has shape"),
    "label: moved": (moved(40), LABEL, "differs from the image's by up to 40 mm"),
    "label: other spacing": (other_spacing, LABEL, "its affine differs"),
    "label: 5": (
        label_of(lambda a: np.where(a > 1, 7, a).astype(np.uint8)),
        "segmentation",
        r"contains labels \[7\] in 128 voxels; allowed are 0, 1, 2; relabel it, or name the values",
    ),
    "label: cysts": (
        label_of(lambda a: a + (a > 1)),
        "segmentation",
        r"labels \[3\].*3 are cysts.* set labels=kits23, or .* source=kits23",
    ),
    "label: negative": (
        label_of(lambda a: -a.astype(np.int16)),
        "segmentation",
        r"contains labels \[-2, -1\].*; relabel it, or name the values",
    ),
    "label: the image in its place": (
        lambda c: shutil.copy(c.image, c.label),
        "segmentation",
        r"contains labels \[-1024, .*these look like HU: exchange image and label",
    ),
    "label: fractions": (
        label_of(lambda a: a.astype(np.float32) / 2),
        "segmentation",
        r"contains labels \[0.5\].*; relabel it, or name the values",
    ),
    "label: nan": (
        label_of(lambda a: np.where(a > 1, np.nan, a)),
        "segmentation",
        r"contains labels \[nan\].*; relabel it, or name the values",
    ),
    "label: cut off": (
        lambda c: c.label.write_bytes(c.label.read_bytes()[:90]),
        "segmentation",
        "is truncated",
    ),
}


def test_there_are_thirty_kinds() -> None:
    assert len(MALFORMED) >= 30


@pytest.mark.parametrize("kind", MALFORMED)
def test_the_message_names_file_problem_and_remedy(tmp_path: Path, kind: str) -> None:
    spoil, file, text = MALFORMED[kind]
    case = write_case(tmp_path, 0, *blocky(0))
    nib.save(nib.Nifti1Image(blocky(0)[1], AFFINE), case.label)
    spoil(case)
    with pytest.raises(ValueError, match=rf"case_00000/{file}.nii.gz: .*{text}") as refusal:
        image, mask = read_image(case.image), read_label_volume(case.label)
        check_same_grid(case.label, mask.layout, image.layout)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 400
    assert re.search(rf"[;:] ({REMEDIES}) [^;]+$", str(refusal.value))
