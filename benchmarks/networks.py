"""Time per training step of each network, with the same channels, batch, size and precision.

    python benchmarks/networks.py [--size 256] [--batch 4] [--width 32] [--repeats 40] [--steps 1]
                                  [--compile]
    python benchmarks/networks.py --dims 3 --size 32 96 96 --batch 2 --width 16

The networks take steps in turn, so that all are measured under the same load. A ratio is the median
of the ratios of consecutive measurements. On a GPU, set --steps to measure several steps at once.
"As users run it" is MONAI's network in float32 and PyTorch's default memory format. `--compile`
adds all networks compiled and in the precision that the hardware supports, as kitsseg trains on
GPUs. On a CPU that other processes use as well, `--processor-time` gives steadier ratios if the
environment variable OMP_WAIT_POLICY is PASSIVE.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version

import ratios
import torch
from clock import now
from monai.networks.nets import AttentionUnet, BasicUNet
from torch import nn

from kitsseg.models.blocks import CHANNELS_LAST
from kitsseg.models.unet import AttentionUNet, UNet
from kitsseg.system import hardware, provenance

DEVICE = hardware.choose_device()
PRECISION = hardware.choose_precision(DEVICE.type)
USERS, COMPILED = ", as users run it", ", compiled"


def aims(dims: int, compiled: bool) -> list[tuple[str, str, str]]:
    """Return numerator, denominator and aim of each ratio."""
    equal = ">= 1.1" if dims == 2 and PRECISION == "bf16-mixed" else ">= 1.0"
    users = ">= 2.0" if dims == 2 else ">= 1.67"
    ours = COMPILED if compiled else ""  # kitsseg compiles by default on GPUs
    found = [(f"attn_unet{ours}", f"unet{ours}", "<= 1.08")]
    for theirs, our in (("MONAI AttentionUnet", "attn_unet"), ("MONAI BasicUNet", "unet")):
        found += [(theirs + how, our + how, equal) for how in ("", COMPILED)[: 1 + compiled]]
        found.append((theirs + USERS, our + ours, users))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("dims", 2), ("batch", 4), ("width", 32), ("repeats", 40)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--size", type=int, nargs="+", default=[256], help="one number, or one per axis")
    parser.add_argument("--steps", type=int, default=1, help="steps per measurement")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--processor-time", action="store_true", help="of all threads, on a CPU")
    args = parser.parse_args()
    if len(args.size) == 1:
        args.size *= args.dims
    clock = time.process_time if args.processor_time else partial(now, DEVICE)
    made = networks(args.dims, args.width, args.compile)
    steps = {name: make_step(*how, args) for name, how in made.items()}
    first: dict[str, float] = {}
    for name, step in steps.items():
        start = clock()
        step()  # the first step allocates memory and chooses algorithms
        first[name] = clock() - start
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(args.repeats):
        for name, step in steps.items():
            start = clock()
            for _ in range(args.steps):
                step()
            seconds[name].append((clock() - start) / args.steps)
    device = provenance.describe_environment(DEVICE, "", False)["device"]
    size = " x ".join(map(str, args.size))
    print(
        f"torch {torch.__version__}, MONAI {version('monai')}, {torch.get_num_threads()} threads, "
        f"{device}, {PRECISION}; batch {args.batch} of {size}, width {args.width}, {args.repeats} times "
        f"{args.steps} steps each\n"
    )
    print("| training step of | ms (least, most) | first step, s |\n|---|---|---|")
    for name, values in seconds.items():
        row = [1e3 * value for value in (statistics.median(values), min(values), max(values))]
        print(f"| {name} | {row[0]:.1f} ({row[1]:.1f}, {row[2]:.1f}) | {first[name]:.1f} |")
    print("\n| ratio | median (least, most) | aim |\n|---|---|---|")
    for above, below, aim in aims(args.dims, args.compile):
        each = [a / b for a, b in zip(seconds[above], seconds[below], strict=True)]
        shown = f"{statistics.median(each):.2f} ({min(each):.2f}, {max(each):.2f})"
        print(f"| {above} / {below} | {shown} | {aim} |")
        ratios.store(f"{'3D step' if args.dims == 3 else 'step'}: {above} / {below}", each, aim)


def networks(
    dims: int, width: int, compiled: bool
) -> dict[str, tuple[Callable[[], nn.Module], bool, bool]]:
    """Return by name: factory, whether to use the hardware's precision, whether to compile."""
    levels = [width * 2**level for level in range(5)]
    makers: dict[str, Callable[[], nn.Module]] = {
        "unet": lambda: UNet(width=width, dims=dims),
        "attn_unet": lambda: AttentionUNet(width=width, dims=dims),
        "MONAI AttentionUnet": lambda: AttentionUnet(dims, 1, 3, levels, [2, 2, 2, 2]),
        "MONAI BasicUNet": lambda: BasicUNet(dims, 1, 3, [*levels, width], norm="batch"),
    }
    found = {name: (make, True, False) for name, make in makers.items()}
    found |= {name + USERS: (make, False, False) for name, make in makers.items() if "MONAI" in name}
    if compiled:
        found |= {name + COMPILED: (make, True, True) for name, make in makers.items()}
    return found


def make_step(
    make: Callable[[], nn.Module], fast: bool, compiled: bool, args: argparse.Namespace
) -> Callable[[], None]:
    """Return a function that takes one training step on a batch in memory."""
    torch.manual_seed(0)
    net = make().to(DEVICE).train()
    image = torch.randn(args.batch, 1, *args.size, device=DEVICE)
    label = torch.randint(0, 3, (args.batch, *args.size), device=DEVICE)
    if fast:
        net = hardware.optimize(net, channels_last=True, compile=compiled)
        image = image.contiguous(memory_format=CHANNELS_LAST[args.dims])
    optimizer = torch.optim.Adam(net.parameters())
    autocast = hardware.autocast(DEVICE, PRECISION if fast else "32-true")

    def step() -> None:
        with autocast():
            logits = net(image)
        loss = nn.functional.cross_entropy(logits.float(), label)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
