"""`kitsseg.data.io.upright`: a sheared volume on a grid of perpendicular axes."""

from itertools import permutations
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from kitsseg.data.io.nifti.read import Image, read_label
from kitsseg.data.io.read_scan import read_image
from kitsseg.data.io.upright import save_upright
from tests.conftest import AFFINE, blocky

TILTED = AFFINE.copy()
TILTED[1, 0] = 1.9  # mm to the front with each slice


def upright(folder: Path, axes: tuple[int, ...], tilted: np.ndarray) -> tuple[Image, np.ndarray]:
    """Return the upright pair of a case, stored with its axes in this order."""
    folder.mkdir()
    image, label = blocky(0)
    order = [*axes, 3]
    nib.save(nib.Nifti1Image(image.transpose(axes), tilted[:, order]), folder / "ct.nii")
    save_upright(read_image(folder / "ct.nii"), label, folder / "label.nii", folder / "image.nii")
    return read_image(folder / "image.nii"), read_label(folder / "label.nii")


@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_any_order_of_the_axes(tmp_path: Path, axes: tuple[int, ...]) -> None:
    wanted, wanted_label = upright(tmp_path / "axial", (2, 1, 0), TILTED)
    image, label = upright(tmp_path / "other", axes, TILTED)
    assert not image.layout.is_sheared and image.layout.spacing_mm == pytest.approx((3, 0.8, 0.8))
    assert np.allclose(image.layout.turned_affine, wanted.layout.turned_affine, atol=1e-4)
    assert np.array_equal(image.hu, wanted.hu) and np.array_equal(label, wanted_label)
    assert np.bincount(label.ravel())[1:].tolist() == np.bincount(blocky(0)[1].ravel())[1:].tolist()


def test_slices_that_are_not_axial(tmp_path: Path) -> None:
    """Sagittal slices which are shifted against each other: the axis towards the head stays."""
    sheared = np.array([[0, 0, 3, 0], [0, 0.8, 1.9, 0], [-0.8, 0, 0, 0], [0, 0, 0, 1]], float)
    image, label = upright(tmp_path / "sagittal", (1, 0, 2), sheared[:, [0, 1, 2, 3]])
    assert not image.layout.is_sheared and (label > 0).sum() == (blocky(0)[1] > 0).sum()


def test_no_perpendicular_axes(tmp_path: Path) -> None:
    sheared = TILTED.copy()
    sheared[0, 0] = sheared[0, 1] = 0.4
    with pytest.raises(ValueError, match="upright: no two axes of the volume are perpendicular"):
        upright(tmp_path / "x", (2, 1, 0), sheared)
