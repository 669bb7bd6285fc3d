"""Run `kitsseg.download` against a local server."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra import compose, initialize_config_dir

from kitsseg.config.command_line import attempt
from kitsseg.config.validation import CONFIG_DIR
from kitsseg.download import HINT, run
from tests import ROOT
from tests.helpers.faulty import FaultyServer, serve
from tests.helpers.fetching import volume

CASES = (0, 1, 2, 210)


def imaging(case: int) -> str:
    return f"/images/case_{case:05d}.nii.gz"


def labels(case: int) -> str:
    return f"/data/case_{case:05d}/segmentation.nii.gz"


@contextmanager
def filled() -> Iterator[FaultyServer]:
    """Serve three labelled cases, one test case and ``kits.json``."""
    with serve() as faulty:
        for case in CASES:
            faulty.files[imaging(case)] = volume(case, 200_000)
            faulty.files[labels(case)] = volume(case + 1000, 5_000)
        faulty.files["/data/kits.json"] = b'[{"case_id": "case_00000"}]'
        yield faulty


def overrides(server: FaultyServer, root: Path) -> list[str]:
    return [
        f"root={root}", "workers=2", "timeout_s=10", "retries=2", "backoff_s=0.01",
        f'imaging_url="{server.address}/images/case_{{case:05d}}.nii.gz"',
        f'labels_url="{server.address}/data/case_{{case:05d}}/segmentation.nii.gz"',
        f"clinical_url={server.address}/data/kits.json",
    ]  # fmt: skip


def download(server: FaultyServer, root: Path, *more: str) -> int:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("download", [*overrides(server, root), "cases=[0-2,210]", *more])
        return attempt("download", run, cfg, HINT)


def start(server: FaultyServer, root: Path, *more: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = [*overrides(server, root), "cases=[0-2,210]", *more]
    return subprocess.Popen(
        [sys.executable, "-m", "kitsseg.download", *line],
        cwd=root.parent, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A shell's background processes ignore SIGINT, and their children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


def errors(stderr: str) -> list[str]:
    """Return the lines of standard error without the bar."""
    return [line for line in re.split(r"[\r\n]+", stderr) if line and " files" not in line.split(":")[0]]


def expected(server: FaultyServer) -> dict[str, bytes]:
    found = {"kits.json": server.files["/data/kits.json"]}
    for case in CASES:
        found[f"case_{case:05d}/imaging.nii.gz"] = server.files[imaging(case)]
        if case < 210:
            found[f"case_{case:05d}/segmentation.nii.gz"] = server.files[labels(case)]
    return found


def found(root: Path) -> dict[str, bytes]:
    """Return the contents of all files below a folder, including hidden ones."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def wait_for_part(root: Path, size: int) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if any(p.stat().st_size >= size for p in root.rglob(".imaging.nii.gz.part")):
            return
        time.sleep(0.02)
    raise AssertionError("nothing was received")
