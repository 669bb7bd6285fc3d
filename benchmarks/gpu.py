"""Everything that is measured on a GPU, in one command of at most eight minutes.

    python benchmarks/gpu.py OUTPUT [--device cuda] [--size 512] [--batch 16] [--width 32]

It runs training steps of all networks (eager and compiled), an epoch against the bare loop with eight
loader processes, the tests of tests/test_gpu.py, the share of a step that its convolutions alone
need, and the prediction of a volume. OUTPUT/gpu.md has the results; OUTPUT/*.txt what each part
printed. A part that fails or exceeds its time is named, and the others are run. kitsseg must be
installed with the extra `test`. `--device cpu --size 64 --batch 2 --width 8` tries the script without
a GPU.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from clock import now
from networks import make_step
from predict import draw, write_checkpoint
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kitsseg.inference.segmenter import Segmenter
from kitsseg.models.unet import AttentionUNet
from kitsseg.system import hardware, provenance

ROOT = Path(__file__).parents[1]
AIM_SHARE = 0.6  # of the peak that the convolutions alone reach


def convolutions(net: nn.Module, image: Tensor) -> list[tuple[nn.Module, torch.Size]]:
    """Return the convolutions of a network and the shapes of their inputs."""
    found: list[tuple[nn.Module, torch.Size]] = []
    hooks = [
        module.register_forward_hook(lambda layer, inputs, _: found.append((layer, inputs[0].shape)))
        for module in net.modules()
        if isinstance(module, nn.Conv2d)
    ]
    with torch.no_grad():
        net(image)
    for hook in hooks:
        hook.remove()
    return found


def median_seconds(step: Callable[[], None], device: torch.device, repeats: int = 10) -> float:
    """Return the median duration of a step, after three that are not measured."""
    for _ in range(3):
        step()
    taken = []
    for _ in range(repeats):
        start = now(device)
        step()
        taken.append(now(device) - start)
    return sorted(taken)[repeats // 2]


def share_of_peak(device: torch.device, size: int, batch: int, width: int) -> str:
    """Return how fast a compiled training step is, compared with its convolutions alone."""
    torch.manual_seed(0)
    compiled = hardware.choose_compile(device.type, None)
    precision = hardware.choose_precision(device.type)
    plain = AttentionUNet(width=width).to(device)
    image = torch.randn(1, 1, size, size, device=device)
    about = argparse.Namespace(batch=batch, size=[size, size], dims=2)
    step = make_step(lambda: AttentionUNet(width=width), True, compiled, about)
    layers = []
    for layer, shape in convolutions(plain, image):
        data = torch.randn(batch, *shape[1:], device=device, dtype=torch.bfloat16)
        data = data.contiguous(memory_format=torch.channels_last).requires_grad_()
        half: Any = layer.to(torch.bfloat16)
        layers.append((half.to(memory_format=torch.channels_last), data))

    def bare() -> None:
        for layer, data in layers:
            out = layer(data)
            out.backward(torch.ones_like(out))

    counter = FlopCounterMode(display=False)
    with counter:
        bare()
    ours, alone = median_seconds(step, device), median_seconds(bare, device)
    rate = counter.get_total_flops() / alone / 1e12
    return (
        f"attn_unet, batch {batch} of {size} x {size}, width {width}, {precision}"
        f"{', compiled' if compiled else ''}: step {1e3 * ours:.1f} ms; its convolutions alone "
        f"{1e3 * alone:.1f} ms ({rate:.1f} TFLOP/s); share {alone / ours:.2f} (aim >= {AIM_SHARE})"
    )


def prediction(device: torch.device, size: int, width: int, slices: int) -> str:
    """Return the duration of the prediction of a volume in memory."""
    with tempfile.TemporaryDirectory() as name:
        write_checkpoint(Path(name) / "x.ckpt", size, width)
        segmenter = Segmenter.load(Path(name) / "x.ckpt", device=str(device))
    hu = draw(slices)
    segmenter.segment(hu[:16], (1.0, 0.8, 0.8))  # the first batch chooses algorithms
    start = time.perf_counter()
    segmenter.segment(hu, (1.0, 0.8, 0.8))
    taken = time.perf_counter() - start
    rate = f"{taken:.2f} s, {slices / taken:.0f} per second"
    return f"{slices} slices of 512 x 512 at {size} x {size}: {rate}"


def run(name: str, arguments: list[str], output: Path, limit_s: int) -> str:
    """Run a script, write what it prints to ``output``/``name``.txt, and return it."""
    start = time.monotonic()
    with (output / f"{name}.txt").open("w") as file:
        try:
            code = subprocess.run(
                [sys.executable, *arguments],
                cwd=ROOT,
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=limit_s,
            ).returncode
        except subprocess.TimeoutExpired:
            code = -1
    state = (
        "" if code == 0 else f"**failed with exit code {code}**\n\n" if code > 0 else "**too slow**\n\n"
    )
    text = (output / f"{name}.txt").read_text()
    tables = [line for line in text.splitlines() if line.startswith("|") or "passed" in line]
    body = "\n".join(tables if tables else text.splitlines()[-8:])
    print(f"{name}: {time.monotonic() - start:.0f} s {state}", flush=True)
    return f"## {name}\n\n`python {' '.join(arguments)}`\n\n{state}{body}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--slices", type=int, default=512, help="of the predicted volume")
    for name, default in (("size", 512), ("batch", 16), ("width", 32), ("workers", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    device, size, batch, width = torch.device(args.device), args.size, args.batch, args.width
    args.output.mkdir(parents=True, exist_ok=True)
    about = provenance.describe_environment(device, hardware.choose_precision(device.type), True)
    parts = [f"# {about['device']}\n\ntorch {about['torch']}, commit {about['commit']}\n"]
    cuda = ["--compile"] if device.type == "cuda" else []
    shape = [f"--size={size}", f"--batch={batch}", f"--width={width}"]
    epoch = [
        "--epochs=4",
        f"data.source.size={size}",
        f"model.width={width}",
        f"data.batch_size={batch}",
    ]
    epoch += [f"data.workers={args.workers}", f"trainer.accelerator={'gpu' if cuda else 'cpu'}"]
    for name, arguments, limit_s in (
        ("step", ["benchmarks/networks.py", *shape, *cuda, "--repeats=8", "--steps=2"], 150),
        ("epoch", ["benchmarks/training.py", *epoch], 110),
        ("tests", ["-m", "pytest", "-q", "-x", "tests/test_gpu.py"], 150),
    ):
        parts.append(run(name, arguments, args.output, limit_s))
        (args.output / "gpu.md").write_text("\n".join(parts))
    parts.append(f"## share of the peak\n\n{share_of_peak(device, size, batch, width)}\n")
    parts.append(f"## prediction\n\n{prediction(device, size, width, args.slices)}\n")
    (args.output / "gpu.md").write_text("\n".join(parts))
    print("\n".join(parts))


if __name__ == "__main__":
    main()
