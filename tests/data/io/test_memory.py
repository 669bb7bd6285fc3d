"""Memory of prepare: at most three times the volume as int16, for any stored type."""

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from kitsseg.data.case import IMAGE_NAME, LABEL_NAME
from tests.conftest import AFFINE

SHAPE = (120, 512, 512)
INT16_BYTES = 2 * 120 * 512 * 512
# A new process, measured by VmHWM: getrusage may report the parent's peak.
PREPARE = """
import sys
from pathlib import Path
import kitsseg.data.io.read_scan
from kitsseg.data.sources.kits import list_cases
from kitsseg.data.store.prepare import prepare

def peak_bytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

imported = peak_bytes()
prepare(list_cases(Path(sys.argv[1])), Path(sys.argv[2]), None)
print(peak_bytes() - imported)
"""


def write(path: Path, array: np.ndarray, scaling: tuple[float, float] | None = None) -> None:
    """Write an uncompressed file, which is faster, whatever its name says."""
    image = nib.Nifti1Image(array, AFFINE)
    if scaling is not None:
        image.header.set_slope_inter(*scaling)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.to_filename(path.with_name("plain.nii"))
    path.with_name("plain.nii").rename(path)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="VmHWM exists on Linux only")
@pytest.mark.parametrize(
    ("dtype", "scaling"),
    [
        (np.int16, None),
        (np.int16, (1, -150)),
        (np.int16, (0.5, -100)),
        (np.uint8, (10, -1024)),
        (np.float32, None),
    ],
)
def test_memory_is_bounded_for_any_type(
    tmp_path: Path, dtype: type, scaling: tuple[float, float] | None
) -> None:
    row = np.arange(SHAPE[-1]) % 250 - (0 if dtype == np.uint8 or scaling else 120)
    label = np.zeros(SHAPE, np.uint8)
    label[40:60, 200:300, 200:300], label[45:50, 220:240, 220:240] = 1, 2
    folder = tmp_path / "raw" / "case_00000"
    write(folder / IMAGE_NAME, np.broadcast_to(row, SHAPE).astype(dtype), scaling)
    write(folder / LABEL_NAME, label)
    command = [sys.executable, "-c", PREPARE, str(tmp_path / "raw"), str(tmp_path / "store")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=100)
    assert INT16_BYTES < int(done.stdout) < 3 * INT16_BYTES
