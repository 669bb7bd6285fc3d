"""What applying a network costs beside it, by which runtime, and memory for the largest case.

``python benchmarks/predict.py``. A volume of 512 x 512 x 300 is read, segmented and written by
`kitsseg.predict`'s own parts; the bare network's forward passes over the very slices that it sees, and
reading and writing, are measured in turn. Then the whole command runs on two volumes of 512 x 512 x 1059
(KiTS19's largest), so that one is read while the other is computed on, and its peak memory is read.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # threads that wait for each other would count as work

import argparse
import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from kitsseg.data.io.nifti import read_image
from kitsseg.data.io.write import read_header, save_volume
from kitsseg.data.store.grid import Grid
from kitsseg.inference import checkpoint, export_formats
from kitsseg.inference.body_crop import crop_on_stored_grid, find_body
from kitsseg.inference.segmenter import EMPTY_HU, MARGIN, Segmenter
from kitsseg.models.unet import UNet
from kitsseg.models.window import Window
from kitsseg.system.hardware import choose_precision

ROOT = Path(__file__).parents[1]
AFFINE = np.array([[0, 0, -0.8, 0], [0, -0.8, 0, 0], [-1.0, 0, 0, 0], [0, 0, 0, 1]])
WINDOW = Window(-79, 304, 101, 76.9)


def draw(slices: int, air: int = 0) -> np.ndarray:
    """``[slices, 512, 512]`` int16: a body with two bright kidneys; ``air`` slices at both ends."""
    rng = np.random.default_rng(0)
    rows, columns = np.ogrid[-1:1:512j, -1:1:512j]
    image = np.full((slices, 512, 512), -1000, np.int16)
    body = (rows / 0.6) ** 2 + (columns / 0.85) ** 2 < 1
    plane = np.where(body, 40, -1000)
    for middle in (-0.4, 0.4):
        plane[((rows - 0.15) / 0.15) ** 2 + ((columns - middle) / 0.12) ** 2 < 1] = 180
    noise = rng.normal(0, 15, (8, 512, 512)).astype(np.int16)
    for z in range(air, slices - air):
        image[z] = plane + noise[z % 8]
    return image


def write_checkpoint(path: Path, size: int | None, width: int) -> None:
    """An untrained network that sees all classes about as often: the dearest case for the way back."""
    torch.manual_seed(0)
    net = UNet(width=width).eval()
    with torch.no_grad():
        net.head.bias -= net(WINDOW(torch.randn(1, 1, 256, 256) * 50)).mean(dim=(0, 2, 3))
    network = {"_target_": "kitsseg.models.unet.UNet", "width": width}
    about = checkpoint.header(network, WINDOW, size, 0, {})
    state = {f"net.{k}": v for k, v in net.state_dict().items()}
    torch.save({"state_dict": state, "kitsseg": about}, path)


def seconds(job: Callable[[], Any]) -> tuple[float, float, Any]:
    """Processor time (others on the machine don't stretch it), wall time, result."""
    start, begun = time.process_time(), time.monotonic()
    out = job()
    return time.process_time() - start, time.monotonic() - begun, out


@torch.inference_mode()
def bare(segmenter: Segmenter, inputs: torch.Tensor, step: int) -> None:
    """Forward passes alone, over slices that are already scaled and windowed."""
    (member,) = (m for group in segmenter._groups.values() for m in group)
    for first in range(0, len(inputs), step):
        with segmenter._autocast():
            member.net(inputs[first : first + step])


def overhead(folder: Path, slices: int, air: int, size: int | None, width: int, repeats: int) -> None:
    """One line: seconds of each part, and the whole over network, reading and writing.

    The bare network gets what `kitsseg.predict` shows it: no air, neither slices nor round the body.
    """
    path, image = folder / "x.ckpt", folder / f"ct{air}.nii.gz"
    write_checkpoint(path, size, width)
    segmenter = Segmenter.load(path, device="cpu")
    if not image.is_file():
        nib.save(nib.Nifti1Image(draw(slices, air), AFFINE), image)
    grid = Grid((512, 512), size)
    times: dict[str, list[float]] = {"reading": [], "network": [], "writing": [], "whole": []}
    for _ in range(repeats):
        taken, _, read = seconds(lambda: read_image(image))
        times["reading"].append(taken)
        step = max(1, segmenter._pixels_per_batch // math.prod(grid.stored))
        body = find_body(read.hu, EMPTY_HU)
        assert body is not None
        rows, columns = crop_on_stored_grid(body, grid, MARGIN)
        stored = torch.from_numpy(grid.fit_image(read.hu[air : slices - air]))[:, None]
        inputs = WINDOW(stored[..., rows, columns]).contiguous(memory_format=torch.channels_last)
        taken, _, _ = seconds(lambda: bare(segmenter, inputs, step))  # noqa: B023
        times["network"].append(taken)
        taken, _, made = seconds(lambda: segmenter.segment(read.hu, read.layout.spacing_mm))  # noqa: B023
        times["whole"].append(taken)
        save = lambda: save_volume(folder / "out.nii.gz", made.label, read.layout, read_header(image))  # noqa: B023, E731
        taken, _, _ = seconds(save)
        times["writing"].append(taken)
    each = {name: float(np.median(values)) for name, values in times.items()}
    beside = each["reading"] + each["writing"]
    ratio = (each["whole"] + beside) / (each["network"] + beside)
    seen = math.prod(inputs.shape[2:]) / math.prod(grid.stored)
    what = f"size {size}, width {width}, {air * 2} of {slices} slices air, {seen:.0%} of others seen"
    print(
        f"{what:62} read {each['reading']:5.2f} s, network {each['network']:6.2f} s, segmented "
        f"{each['whole']:6.2f} s, written {each['writing']:4.2f} s: {ratio:5.3f} x",
        flush=True,
    )


def runtimes(folder: Path, width: int) -> None:
    """One line: milliseconds a slice of 256 x 256, by PyTorch in both precisions and by ONNX Runtime."""
    write_checkpoint(folder / "x.ckpt", 256, width)
    export_formats.export_onnx(checkpoint.load(folder / "x.ckpt"), folder / "x.onnx")
    image = torch.randn(4, 1, 256, 256).contiguous(memory_format=torch.channels_last)
    line = []
    for name, file, precision in (
        ("PyTorch, float32", "x.ckpt", "32-true"),
        ("PyTorch, bfloat16", "x.ckpt", "bf16-mixed"),
        ("ONNX Runtime, float32", "x.onnx", "32-true"),
    ):
        segmenter = Segmenter.load(folder / file, device="cpu", precision=precision)
        bare(segmenter, image, 4)
        taken = [seconds(lambda: bare(segmenter, image, 4))[0] for _ in range(8)]  # noqa: B023
        line.append(f"{name} {np.median(taken) / len(image) * 1000:.1f}")
    print(f"width {width}, ms a slice of 256 x 256: {'; '.join(line)}", flush=True)


def memory(folder: Path, slices: int, width: int) -> None:
    """Peak memory of the command on two volumes, one of which is read while the other is computed on."""
    write_checkpoint(folder / "x.ckpt", 256, width)
    (folder / "two").mkdir()
    nib.save(nib.Nifti1Image(draw(slices), AFFINE), folder / "two" / "a.nii.gz")
    os.link(folder / "two" / "a.nii.gz", folder / "two" / "b.nii.gz")
    arguments = [
        f"checkpoint={folder}/x.ckpt",
        f"input={folder}/two",
        f"output={folder}/out",
        "device=cpu",
    ]
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "kitsseg.predict", *arguments], cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    peak = 0.0
    while process.poll() is None:
        # Its own mark: what getrusage says of a child begins with this process's.
        found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
        peak = max(peak, int(found[1]) * 1024 / 1e9 if found else 0)
        time.sleep(0.05)
    assert process.returncode == 0
    print(
        f"the command on two volumes of {slices} slices, width {width}: at most {peak:.2f} GB, "
        f"{time.monotonic() - start:.0f} s on the clock"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--largest", type=int, default=1059)
    given = parser.parse_args()
    precision = choose_precision("cpu")
    print(f"torch {torch.__version__}, one core, {precision}; processor time, median of {given.repeats}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size, width, air in ((256, 32, 0), (256, 16, 0), (128, 16, 0), (256, 16, given.slices // 3)):
            overhead(folder, given.slices, air, size, width, given.repeats)
        for width in (32, 16):
            runtimes(folder, width)
        memory(folder, given.largest, 16)


if __name__ == "__main__":
    main()
