"""A label volume as a NIfTI file, laid out as the file that it is compared with."""

from pathlib import Path

import nibabel as nib
import numpy as np

from kitsseg.data.layout import Layout
from kitsseg.files import replacing


def write_label(path: Path, label: np.ndarray, layout: Layout) -> None:
    """Write class ids ``[S, H, W]`` along the axes and with the affine of ``layout``.

    The file gets its name only when it is whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.ascontiguousarray(layout.in_file_axes(label), dtype=np.uint8)
    with replacing(path) as temporary:
        nib.save(nib.Nifti1Image(voxels, layout.affine), temporary)
