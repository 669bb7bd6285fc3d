"""Time and memory of a training step with and without kitsseg's settings of glibc's memory allocator.

    python benchmarks/memory.py [--size 256] [--batch 4] [--width 32] [--repeats 5]

Each process takes steps of `attn_unet` as in benchmarks/networks.py. Processes with and without
GLIBC_TUNABLES alternate. A ratio is that of the medians of two consecutive processes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import ratios

VARIABLE = "GLIBC_TUNABLES"
STEPS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("size", 256), ("batch", 4), ("width", 32), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--steps-only", action="store_true", help="run as one of those processes")
    args = parser.parse_args()
    if args.steps_only:
        print(json.dumps(measure(args)))
        return
    from kitsseg.jobs.launch import GLIBC_TUNABLES

    plain = {name: value for name, value in os.environ.items() if name != VARIABLE}
    environments = {"tuned": {**plain, VARIABLE: GLIBC_TUNABLES}, "plain": plain}
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in environments}
    for _ in range(args.repeats):
        for name, env in environments.items():
            command = [sys.executable, *sys.argv, "--steps-only"]
            done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
            measured[name].append(json.loads(done.stdout))
    print("| memory | step, s (least, most) | peak, MB |\n|---|---|---|")
    for name, values in measured.items():
        seconds, peak = zip(*values, strict=True)
        row = f"{statistics.median(seconds):.3f} ({min(seconds):.3f}, {max(seconds):.3f})"
        print(f"| {name} | {row} | {statistics.median(peak):.0f} |")
    pairs = list(zip(measured["tuned"], measured["plain"], strict=True))
    ratios.store("step: with / without GLIBC_TUNABLES", [a[0] / b[0] for a, b in pairs], "<= 1.0")
    ratios.store("peak memory: with / without", [a[1] / b[1] for a, b in pairs], "<= 1.2")


def measure(args: argparse.Namespace) -> tuple[float, float]:
    """Return the median duration of a step in seconds, and the peak memory in MB."""
    import resource

    import networks

    args.dims, args.size = 2, [args.size] * 2
    step = networks.make_step(*networks.networks(2, args.width, compiled=False)["attn_unet"], args)
    step()
    seconds = []
    for _ in range(STEPS):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    main()
