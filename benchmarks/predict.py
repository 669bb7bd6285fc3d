"""Overhead of prediction beside the network, by runtime, and memory for the largest case.

    python benchmarks/predict.py [--repeats 3] [--slices 300] [--largest 1059] [--only 2d 3d memory]

A volume of 512 x 512 x 300 is read, segmented and written by the parts of `kitsseg.predict`. The
forward passes of the network alone, over the same slices, are measured in turn. A 3D network is
compared with MONAI's sliding window over the same patches. Then the command runs on two volumes of
512 x 512 x 1059 (KiTS19's largest), so that it reads one while it computes on the other, and its
peak memory is measured.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # waiting threads would count as processor time

import argparse
import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import ratios
import torch

from kitsseg.data.bounding_box import plane_box
from kitsseg.data.io.nifti.write import save_volume
from kitsseg.data.io.read_scan import read_image
from kitsseg.data.store.grid import Grid
from kitsseg.data.store.volume_grid import Shape
from kitsseg.inference import checkpoint, export_formats
from kitsseg.inference.body_crop import EMPTY_HU, MARGIN, crop_on_stored_grid
from kitsseg.inference.segmenter import Segmenter
from kitsseg.models.unet import UNet
from kitsseg.models.window import Window
from kitsseg.system.hardware import choose_precision

Array = npt.NDArray[Any]
Triple = tuple[float, float, float]

ROOT = Path(__file__).parents[1]
AFFINE = np.array([[0, 0, -0.8, 0], [0, -0.8, 0, 0], [-1.0, 0, 0, 0], [0, 0, 0, 1]])
WINDOW = Window(-79, 304, 101, 76.9)


def draw(slices: int, air: int = 0) -> Array:
    """Return ``[slices, 512, 512]`` int16: a body with two bright kidneys, ``air`` at both ends."""
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
    """Write an untrained network that predicts all classes equally often, which takes the most time."""
    torch.manual_seed(0)
    net = UNet(width=width).eval()
    with torch.no_grad():
        net.head.bias -= net(WINDOW(torch.randn(1, 1, 256, 256) * 50)).mean(dim=(0, 2, 3))
    network = {"_target_": "kitsseg.models.unet.UNet", "width": width}
    about = checkpoint.header(network, WINDOW, size, 0, {})
    state = {f"net.{k}": v for k, v in net.state_dict().items()}
    torch.save({"state_dict": state, "kitsseg": about}, path)


def seconds(job: Callable[[], Any]) -> tuple[float, Any]:
    """Return the processor time of ``job``, which other processes hardly affect, and its result."""
    start = time.process_time()
    out = job()
    return time.process_time() - start, out


@torch.inference_mode()
def forward(segmenter: Segmenter, inputs: torch.Tensor, step: int) -> None:
    """Run the forward passes alone, over slices that are already scaled and windowed."""
    (member,) = (m for group in segmenter._groups.values() for m in group)
    for first in range(0, len(inputs), step):
        with segmenter._autocast():
            member.net(inputs[first : first + step])


def overhead(folder: Path, slices: int, air: int, size: int | None, width: int, repeats: int) -> None:
    """Print the seconds of each part, and the ratio of the whole to network, reading and writing.

    The network alone gets the same input as in `kitsseg.predict`: neither slices of air nor air
    around the body.
    """
    path, image = folder / "x.ckpt", folder / f"ct{air}.nii.gz"
    write_checkpoint(path, size, width)
    segmenter = Segmenter.load(path, device="cpu")
    if not image.is_file():
        nib.save(nib.Nifti1Image(draw(slices, air), AFFINE), image)
    grid = Grid((512, 512), size)
    times: dict[str, list[float]] = {"reading": [], "network": [], "writing": [], "whole": []}
    for _ in range(repeats):
        taken, read = seconds(partial(read_image, image))
        times["reading"].append(taken)
        inputs = network_input(read.hu[air : slices - air], grid)
        step = max(1, segmenter._pixels_per_batch // math.prod(grid.stored))
        times["network"].append(seconds(partial(forward, segmenter, inputs, step))[0])
        taken, found = seconds(partial(segmenter.segment, read.hu, read.layout.spacing_mm))
        times["whole"].append(taken)
        output = folder / "out.nii.gz"
        save = partial(save_volume, output, found.label, read.layout)
        times["writing"].append(seconds(save)[0])
    median = {name: float(np.median(values)) for name, values in times.items()}
    files = median["reading"] + median["writing"]
    ratio = (median["whole"] + files) / (median["network"] + files)
    seen = math.prod(inputs.shape[2:]) / math.prod(grid.stored)
    setting = f"size {size}, width {width}, {air * 2} of {slices} slices air, {seen:.0%} of others seen"
    print(
        f"{setting:62} read {median['reading']:5.2f} s, network {median['network']:6.2f} s, segmented "
        f"{median['whole']:6.2f} s, written {median['writing']:4.2f} s: {ratio:5.3f} x",
        flush=True,
    )


def network_input(hu: Array, grid: Grid) -> torch.Tensor:
    """Return ``[S, 1, H, W]``, cropped, scaled and windowed, as the segmenter computes it."""
    body = plane_box(hu.max(axis=0) > EMPTY_HU)
    assert body is not None
    rows, columns = crop_on_stored_grid(body, grid, MARGIN)
    stored = torch.from_numpy(grid.fit_image(hu))[:, None]
    image: torch.Tensor = WINDOW(stored[..., rows, columns])
    return image.contiguous(memory_format=torch.channels_last)


def runtimes(folder: Path, width: int) -> None:
    """Print milliseconds per slice of 256 x 256, by PyTorch in two precisions and by ONNX Runtime."""
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
        forward(segmenter, image, 4)
        taken = [seconds(partial(forward, segmenter, image, 4))[0] for _ in range(8)]
        line.append(f"{name} {np.median(taken) / len(image) * 1000:.1f}")
    print(f"width {width}, ms per slice of 256 x 256: {'; '.join(line)}", flush=True)


def write_checkpoint_3d(path: Path, patch: Shape, width: int, spacing_mm: Triple | None) -> None:
    """Write an untrained 3D U-Net, or one convolution if ``width`` is 0."""
    torch.manual_seed(0)
    target = "kitsseg.models.unet.UNet" if width else "torch.nn.Conv3d"
    arguments: dict[str, Any] = {"width": width, "dims": 3}
    if not width:
        arguments = {"in_channels": 1, "out_channels": 3, "kernel_size": 1}
    net = UNet(**arguments) if width else torch.nn.Conv3d(**arguments)
    network = {"_target_": target, **arguments}
    about = checkpoint.header(network, WINDOW, None, 0, {}, patch=patch, spacing_mm=spacing_mm)
    state = {f"net.{k}": v for k, v in net.state_dict().items()}
    torch.save({"state_dict": state, "kitsseg": about}, path)


@torch.inference_mode()
def monai_label(hu: Array, loaded: checkpoint.Loaded, segmenter: Segmenter) -> Array:
    """Return the label volume by MONAI's sliding window with the bare network."""
    from monai.inferers import sliding_window_inference

    def predict(image: torch.Tensor) -> torch.Tensor:
        with segmenter._autocast():
            logits: torch.Tensor = loaded.net(image.contiguous(memory_format=torch.channels_last_3d))
        return logits.float().softmax(1)

    assert loaded.patch is not None
    image = WINDOW(torch.from_numpy(hu))[None, None]
    batch = max(1, segmenter._pixels_per_batch // math.prod(loaded.patch))
    likely: Any = sliding_window_inference(image, loaded.patch, batch, predict, 0.5, mode="gaussian")
    return np.asarray(likely.argmax(1)[0].to(torch.uint8))


def overhead_3d(folder: Path, slices: int, patch: Shape, width: int, repeats: int) -> None:
    """Print the ratio of reading, segmenting and writing to the same with MONAI's sliding window.

    The volume is 256 x 256 pixels of body, so that no patch is left out, on its own grid.
    """
    path, image = folder / "3d.ckpt", folder / "body.nii.gz"
    write_checkpoint_3d(path, patch, width, None)
    segmenter = Segmenter.load(path, device="cpu")
    (loaded,) = segmenter._volumes[0].members  # in the same memory format for both
    nib.save(nib.Nifti1Image(draw(slices)[:, 128:384, 128:384], AFFINE), image)

    def whole(label: Callable[[Array, Any], Array]) -> Array:
        read = read_image(image)
        found = label(read.hu, read.layout.spacing_mm)
        save_volume(folder / "out.nii.gz", found, read.layout)
        return found

    ours, monais = [], []
    for _ in range(repeats):
        taken, found = seconds(lambda: whole(lambda hu, mm: segmenter.segment(hu, mm).label))
        ours.append(taken)
        taken, wanted = seconds(lambda: whole(lambda hu, mm: monai_label(hu, loaded, segmenter)))
        monais.append(taken)
    values = [a / b for a, b in zip(ours, monais, strict=True)]
    ratios.store(f"3D prediction, width {width} / MONAI's sliding window", values, "<= 1.15")
    print(
        f"3D, patch {patch}, width {width}: {np.median(ours):.2f} s; MONAI {np.median(monais):.2f} s: "
        f"{np.median(values):5.3f} x ({min(values):.3f} to {max(values):.3f}); "
        f"{(found != wanted).mean():.1e} of the labels differ",
        flush=True,
    )


def memory(folder: Path, slices: int, what: str) -> None:
    """Print the peak memory of the command on two volumes, the second of which is read ahead."""
    if not (folder / "two").is_dir():
        (folder / "two").mkdir()
        nib.save(nib.Nifti1Image(draw(slices), AFFINE), folder / "two" / "a.nii.gz")
        os.link(folder / "two" / "a.nii.gz", folder / "two" / "b.nii.gz")
    arguments = [
        f"checkpoint={folder}/x.ckpt",
        f"input={folder}/two",
        f"output={folder}/out",
        "device=cpu",
        "trusted=[torch.nn.Conv3d]",
    ]
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "kitsseg.predict", *arguments], cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    peak = 0.0
    while process.poll() is None:
        # getrusage of a child starts with the peak of this process.
        found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
        peak = max(peak, int(found[1]) * 1024 / 1e9 if found else 0)
        time.sleep(0.05)
    assert process.returncode == 0
    print(
        f"the command on two volumes of {slices} slices, {what}: peak {peak:.2f} GB, "
        f"{time.monotonic() - start:.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--largest", type=int, default=1059)
    parser.add_argument("--only", nargs="+", default=["2d", "3d", "memory"])
    args = parser.parse_args()
    precision = choose_precision("cpu")
    print(f"torch {torch.__version__}, one core, {precision}; processor time, median of {args.repeats}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "2d" in args.only:
            for size, width, air in (
                (256, 32, 0),
                (256, 16, 0),
                (128, 16, 0),
                (256, 16, args.slices // 3),
            ):
                overhead(folder, args.slices, air, size, width, args.repeats)
            for width in (32, 16):
                runtimes(folder, width)
        if "3d" in args.only:
            for width in (16, 8):
                overhead_3d(folder, 64, (32, 64, 64), width, args.repeats)
        if "memory" in args.only:
            write_checkpoint(folder / "x.ckpt", 256, 16)
            memory(folder, args.largest, "width 16")
            for mm in (None, (3.22, 1.62, 1.62), (0.8, 0.6, 0.6), (1.0, 0.4, 0.4)):
                write_checkpoint_3d(folder / "x.ckpt", (64, 128, 128), 0, mm)
                memory(folder, args.largest, f"3D, one convolution, spacing {mm} mm")


if __name__ == "__main__":
    main()
