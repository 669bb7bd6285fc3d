"""A label volume comes back as it was, with the axes of the file that it belongs to."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from kitsseg.data.export import write_label
from kitsseg.data.nifti import read_label, read_layout
from tests.conftest import AFFINE


@pytest.mark.parametrize(
    "affine",
    [
        AFFINE,
        np.diag([0.8, 0.7, 3.0, 1.0]),
        np.diag([-0.8, 0.7, -3.0, 1.0]),
        np.array([[0, 0.7, 0, 5], [0, 0, -0.8, 6], [3.0, 0, 0, 7], [0, 0, 0, 1]]),  # turned by thirds
    ],
)
def test_the_files_own_grid_and_affine(tmp_path: Path, affine: np.ndarray) -> None:
    native = np.random.default_rng(0).integers(0, 3, (4, 5, 6)).astype(np.uint8)
    like = tmp_path / "segmentation.nii.gz"
    nib.save(nib.Nifti1Image(native.astype(np.uint16), affine), like)
    write_label(tmp_path / "out" / "case_00001.nii.gz", read_label(like), read_layout(like))
    (path,) = (tmp_path / "out").iterdir()
    back = nib.load(path)
    assert np.array_equal(np.asanyarray(back.dataobj), native)
    assert back.get_data_dtype() == np.uint8
    np.testing.assert_allclose(back.affine, affine)
