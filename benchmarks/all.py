"""Run the benchmarks one after another and write benchmarks/RESULTS.md and RESULTS.png.

    python benchmarks/all.py [--quick] [--folder DIR] [--root DIR] [--nnunet PYTHON]

--root, a folder of cases in KiTS19's layout, adds the time to a given Dice. --quick takes less than
  three minutes, with smaller data, fewer repeats, no nnU-Net and no time to quality. --folder
  stores results, and the same command then resumes with the remaining benchmarks. Remove its
  subfolder `measured` to start again.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import matplotlib
import ratios
import torch

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

HERE = Path(__file__).parent


def commands(folder: str, quick: bool, nnunet: str | None, root: str | None) -> dict[str, list[str]]:
    """Return the commands to run, by title."""
    peer = [] if nnunet is None else ["--nnunet", nnunet]
    small = ["data.source.cases=20", "data.source.slices=24", "data.size=128", "model.width=16"]
    full = ["data.source.cases=12", "data.source.size=256", "data.size=256", "data.batch_size=8"]
    training = ["training.py", "--epochs", "2" if quick else "4", "model=attn_unet", "data.workers=0"]
    patches = ["training.py", "--epochs", "2" if quick else "4", "model=unet3d", "data.workers=0"]
    patches += ["data.source.cases=12", "data.spacing_mm=null", "data.patch=[16,64,64]"]
    patches += ["model.depth=3", "model.width=16", "data.patches_per_epoch=16"]
    networks = ["networks.py", *(["--size", "128", "--repeats", "3"] if quick else [])]
    volumes = ["networks.py", "--dims", "3", "--batch", "2", "--width", "16", "--size"]
    volumes += ["16", "32", "32", "--repeats", "3"] if quick else ["32", "96", "96", "--repeats", "20"]
    prepare = ["prepare.py", "--folder", f"{folder}/prepare"]
    prepare += ["--cases", "2", "--repeats", "1"] if quick else ["--long"]
    few = ["--cases", "4", "--repeats", "1"]  # nnU-Net takes half a minute per case
    memory = ["memory.py", *(["--repeats", "1", "--size", "64"] if quick else [])]
    store = ["store.py", "--folder", f"{folder}/store", *(["--repeats", "2"] if quick else [])]
    scaling = ["scaling.py", "--folder", f"{folder}/scaling"]
    scaling += ["--figure", str(HERE / "SCALING.png")]
    found = {
        "A training step of each network": networks,
        "A training step of each 3D network": volumes,
        "Memory settings": memory,
        "An epoch compared with a bare loop": training + (small if quick else full),
        "A 3D epoch compared with a bare loop": patches,
        "Augmenting 3D patches": ["augmentation.py", *(["--repeats", "2"] if quick else [])],
        "Augmenting slices": ["augmentation.py", "--size", "256", "256", "--patches", "60"],
        "Predicting in 3D": ["predict.py", "--only", "3d", *(["--repeats", "1"] if quick else [])],
        "Preparing cases": prepare,
        **({"Preparing cases, and nnU-Net": [*prepare[:3], *few, *peer]} if peer and not quick else {}),
        "The store": store,
        "As the work grows": scaling + ["--quick"] * quick,
    }
    if root is not None and not quick:
        figure = ["--figure", str(HERE / "QUALITY.png")]
        found["Time to quality"] = ["quality.py", "--root", root, "--long", "--peer", *peer, *figure]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--folder", help="keep data and results here; default: a temporary folder")
    parser.add_argument("--root", help="cases for the time to quality")
    parser.add_argument("--nnunet", help="Python of an environment with nnunetv2")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder if args.folder is not None else temporary
        parts, rows = [], []
        for title, command in commands(folder, args.quick, args.nnunet, args.root).items():
            line = f"python benchmarks/{shown(command, args, folder)}"
            print(f"{title}: {line}", flush=True)
            found = measured(command, Path(folder) / "measured" / f"{title}.json")
            parts.append(
                f"## {title}\n\n`{line}`, commit {found['commit']}\n\n"
                f"{found['output']}\n{picture(command)}"
            )
            rows += found["ratios"]
    text = "\n".join([heading(args.quick), overview(rows), *parts])
    (HERE / "RESULTS.md").write_text(text, encoding="utf-8")
    plot(rows, HERE / "RESULTS.png")
    print(HERE / "RESULTS.md")


def measured(command: list[str], kept: Path) -> dict[str, Any]:
    """Return output, ratios and commit of a benchmark, from ``kept`` if it holds this command."""
    if kept.is_file() and (found := json.loads(kept.read_text()))["command"] == command:
        return dict(found)
    kept.parent.mkdir(parents=True, exist_ok=True)
    ratio_file = kept.with_suffix(".ratios")
    ratio_file.unlink(missing_ok=True)
    env = {**os.environ, ratios.FILE: str(ratio_file), "PYTHONPATH": str(HERE.parent)}
    whole = [sys.executable, str(HERE / command[0]), *command[1:]]
    done = subprocess.run(whole, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"failed:\n{done.stderr[-3000:]}")
    lines = ratio_file.read_text().splitlines() if ratio_file.is_file() else []
    found = {"command": command, "commit": commit(), "output": done.stdout.strip()}
    found["ratios"] = [json.loads(each) for each in lines]
    temporary = kept.with_suffix(".tmp")
    temporary.write_text(json.dumps(found))
    temporary.replace(kept)
    return found


def commit() -> str:
    """Return the short hash of HEAD."""
    line = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(line, cwd=HERE, capture_output=True, text=True).stdout.strip()


def shown(command: list[str], args: argparse.Namespace, folder: str) -> str:
    """Return the command without the paths of this machine."""
    stand_ins = {folder: "DIR", str(HERE) + "/": "", args.root: "DIR", args.nnunet: "PYTHON"}
    line = " ".join(command)
    for text, stand_in in stand_ins.items():
        line = line.replace(text, stand_in) if text else line
    return line


def picture(command: list[str]) -> str:
    """Return Markdown for the plot that a command wrote."""
    if "--figure" not in command:
        return ""
    return f"\n![]({Path(command[command.index('--figure') + 1]).name})\n"


def processor() -> str:
    """Return the name of the processor and its bf16 instructions."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    able = [name for name, there in torch.cpu.get_capabilities().items() if there and "bf16" in name]
    return f"{names[0] if names else platform.processor()} ({', '.join(able) or 'no bf16'})"


def heading(quick: bool) -> str:
    """Return the first lines of RESULTS.md."""
    return (
        f"# Benchmarks\n\n{datetime.date.today()}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores of {processor()}{', --quick' if quick else ''}. Each ratio compares "
        "two programs measured in turn in one run: median, minimum and maximum.\n"
    )


def overview(rows: list[dict[str, Any]]) -> str:
    """Return the table of ratios."""
    lines = ["| ratio | median (least, most) | aim | met |", "|---|---|---|---|"]
    for row in rows:
        spread = f"{row['median']:.2f} ({row['least']:.2f}, {row['most']:.2f})"
        met = "yes" if ratios.meets(row["median"], row["aim"]) else "no"
        lines.append(f"| {row['name']} | {spread} | {row['aim']} | {met} |")
    return "\n".join([*lines, "", "![The ratios and their aims](RESULTS.png)", ""])


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Plot each positive ratio: its range, its median, and a tick at its aim."""
    rows = [row for row in rows if row["least"] > 0]
    figure, axes = pyplot.subplots(figsize=(9, 0.45 * len(rows) + 1.2), layout="constrained")
    for place, row in enumerate(reversed(rows)):
        met = ratios.meets(row["median"], row["aim"])
        colour = "#0072b2" if met else "#d55e00"  # distinguishable with colour-vision deficiency
        axes.plot([row["least"], row["most"]], [place, place], color=colour, linewidth=2)
        axes.plot(row["median"], place, "o" if met else "s", color=colour)
        axes.plot(float(row["aim"].split()[1]), place, "|", color="black", markersize=16)
    axes.set_yticks(range(len(rows)), [f"{r['name']} ({r['aim']})" for r in reversed(rows)], fontsize=8)
    axes.set_xscale("log")
    axes.set_xticks([0.5, 1, 2, 4, 8, 16, 32, 64, 128], minor=False)
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("ratio; black tick: aim; square: aim missed")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
