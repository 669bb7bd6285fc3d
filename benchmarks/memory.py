"""What `kitsseg.system.memory`'s settings of the C library save a training step, and cost in memory.

    python benchmarks/memory.py [--size 256] [--batch 4] [--width 32] [--repeats 5]

Steps of `attn_unet` as in benchmarks/networks.py, in processes with and without them in turn; a ratio is
that of neighbouring processes' medians.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import ratios
from kitsseg.system.memory import VARIABLE, told

STEPS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("size", 256), ("batch", 4), ("width", 32), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--steps-only", action="store_true", help="as one of those processes")
    args = parser.parse_args()
    if args.steps_only:
        print(json.dumps(measure(args)))
        return
    plain = {name: value for name, value in os.environ.items() if name != VARIABLE}
    tuned = {**plain, VARIABLE: told()}
    found: dict[str, list[tuple[float, float]]] = {"tuned": [], "plain": []}
    for _ in range(args.repeats):
        for name, env in (("tuned", tuned), ("plain", plain)):
            line = [sys.executable, *sys.argv, "--steps-only"]
            done = subprocess.run(line, env=env, check=True, capture_output=True, text=True)
            found[name].append(json.loads(done.stdout))
    print("| memory | a step, s (least, most) | peak, MB |\n|---|---|---|")
    for name, values in found.items():
        seconds, peak = zip(*values, strict=True)
        row = f"{statistics.median(seconds):.3f} ({min(seconds):.3f}, {max(seconds):.3f})"
        print(f"| {name} | {row} | {statistics.median(peak):.0f} |")
    both = list(zip(found["tuned"], found["plain"], strict=True))
    ratios.keep("step: kitsseg's memory settings / none", [a[0] / b[0] for a, b in both], "<= 1.0")
    ratios.keep("peak memory of it", [a[1] / b[1] for a, b in both], "<= 1.2")


def measure(args: argparse.Namespace) -> tuple[float, float]:
    """The median of some steps in seconds, and the most memory in MB."""
    import resource

    import networks

    step = networks.make_step(*networks.networks(args.width, compiled=False)["attn_unet"], args)
    step()
    seconds = []
    for _ in range(STEPS):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
