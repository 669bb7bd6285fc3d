"""Files, images of other packages and arrays that a `Segmenter` accepts or refuses."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import LoadImage

from tests.conftest import AFFINE, blocky
from tests.inference.test_segmenter import make, member
from tests.inference.test_slicewise import Threshold, expected


def test_a_file_gives_labels_along_its_own_axes(tmp_path: Path) -> None:
    image = blocky(1)[0]
    own = np.ascontiguousarray(image.transpose(2, 1, 0)[::-1])
    affine = AFFINE[:, [2, 1, 0, 3]].copy()
    affine[:, 3] += 63 * affine[:, 0]
    affine[:, 0] *= -1
    nib.save(nib.Nifti1Image(own, affine), tmp_path / "ct.nii")
    out = make(member(Threshold()))(tmp_path / "ct.nii")
    assert np.array_equal(out, expected(own))
    nib.save(nib.Nifti1Image(image, AFFINE), tmp_path / "ct.nii.gz")
    assert np.array_equal(make(member(Threshold()))(str(tmp_path / "ct.nii.gz")), expected(image))


def test_an_image_of_a_package_gives_what_its_file_gives(tmp_path: Path) -> None:
    image, affine = blocky(1)[0].T, AFFINE[:, [2, 1, 0, 3]]
    nib.save(nib.Nifti1Image(image[..., None], affine), tmp_path / "ct.nii")
    segment = make(member(Threshold()))
    for opened in (nib.load(tmp_path / "ct.nii"), LoadImage()(tmp_path / "ct.nii")):
        with pytest.raises(ValueError, match="image has its own spacing"):
            segment(opened, (1, 1, 1))
        assert np.array_equal(segment(opened), segment(tmp_path / "ct.nii"))


def test_arrays_of_other_types() -> None:
    image = blocky(0)[0]
    make_one = make(member(Threshold()))
    for kind in (np.float64, np.int32, np.float32):
        assert np.array_equal(make_one(image.astype(kind)), make_one(image))
    for kind in (torch.from_numpy, np.ndarray.tolist):
        assert np.array_equal(make_one(kind(image)), make_one(image))
    before = image.copy()
    assert np.array_equal(make_one(image + 1024, offset_hu=-1024), make_one(image))
    assert np.array_equal(image, before)


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (np.zeros((4, 4)), r"image has shape \(4, 4\) and type float64; expected .* \[S, H, W\]"),
        (np.full((1, 4, 4), "a"), "image has shape .* and type <U1; expected numbers"),
        ([[[1, 2], [3]]], "image: cannot be converted|inhomogeneous"),
        (np.zeros((0, 4, 4)), "all at least 1"),
        (nib.Nifti1Image(np.zeros((2, 4, 4), np.int16), None), "image has no affine"),
        (np.full((1, 4, 4), np.nan), "has NaN or infinite values; replace them"),
        ("nosuch.nii.gz", "nosuch.nii.gz: cannot be read"),
    ],
)
def test_what_cannot_be_segmented(image: np.ndarray | str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make(member(Threshold()))(image)
