"""A training step of each network against the others': the same channels, batch, size and precision.

    python benchmarks/networks.py [--size 256] [--batch 4] [--width 32] [--repeats 15]

Steps are taken in turn, so that all networks meet the same machine; a ratio is the median of the ratios
of neighbouring steps. "As users run it" is MONAI's network in float32 and PyTorch's own memory format.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version

import ratios
import torch
from monai.networks.nets import AttentionUnet, BasicUNet
from torch import nn

from kitsseg.hardware import cpu_computes_bf16
from kitsseg.models.unet import AttentionUNet, UNet

# Numerator, denominator, what the ratio should be.
EQUAL = ">= 1.1" if cpu_computes_bf16() else ">= 1.0"
AIMS = (
    ("attn_unet", "unet", "<= 1.08"),
    ("MONAI AttentionUnet", "attn_unet", EQUAL),
    ("MONAI BasicUNet", "unet", EQUAL),
    ("MONAI AttentionUnet, as users run it", "attn_unet", ">= 2.0"),
    ("MONAI BasicUNet, as users run it", "unet", ">= 2.0"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("size", 256), ("batch", 4), ("width", 32), ("repeats", 15)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    steps = {name: make_step(*how, args) for name, how in networks(args.width).items()}
    for step in steps.values():
        step()  # the first one allocates and chooses algorithms
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(args.repeats):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    print(
        f"torch {torch.__version__}, MONAI {version('monai')}, {torch.get_num_threads()} threads, "
        f"bf16 by hardware: {cpu_computes_bf16()}; batch {args.batch} of {args.size} x {args.size}, "
        f"width {args.width}, {args.repeats} steps each\n"
    )
    print("| training step of | s (least, most) |\n|---|---|")
    for name, values in seconds.items():
        row = f"{statistics.median(values):.3f} ({min(values):.3f}, {max(values):.3f})"
        print(f"| {name} | {row} |")
    print("\n| ratio | median (least, most) | aim |\n|---|---|---|")
    for above, below, aim in AIMS:
        each = [a / b for a, b in zip(seconds[above], seconds[below], strict=True)]
        row = f"{statistics.median(each):.2f} ({min(each):.2f}, {max(each):.2f})"
        print(f"| {above} / {below} | {row} | {aim} |")
        ratios.keep(f"step: {above} / {below}", each, aim)


def networks(width: int) -> dict[str, tuple[Callable[[], nn.Module], bool]]:
    """By name: what makes each network, and whether it gets the hardware's precision and format."""
    levels = [width * 2**level for level in range(5)]

    def attention() -> nn.Module:
        return AttentionUnet(2, 1, 3, levels, [2, 2, 2, 2])

    def basic() -> nn.Module:
        return BasicUNet(2, 1, 3, [*levels, width], norm="batch")

    return {
        "unet": (lambda: UNet(width=width), True),
        "attn_unet": (lambda: AttentionUNet(width=width), True),
        "MONAI AttentionUnet": (attention, True),
        "MONAI BasicUNet": (basic, True),
        "MONAI AttentionUnet, as users run it": (attention, False),
        "MONAI BasicUNet, as users run it": (basic, False),
    }


def make_step(make: Callable[[], nn.Module], fast: bool, args: argparse.Namespace) -> Callable[[], None]:
    """A training step of a network on a batch that lies ready."""
    torch.manual_seed(0)
    net = make().train()
    image = torch.randn(args.batch, 1, args.size, args.size)
    label = torch.randint(0, 3, (args.batch, args.size, args.size))
    if fast:
        net, image = (
            net.to(memory_format=torch.channels_last),
            image.to(memory_format=torch.channels_last),
        )
    optimizer = torch.optim.Adam(net.parameters())
    bf16 = fast and cpu_computes_bf16()

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = net(image)
        loss = nn.functional.cross_entropy(logits.float(), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
