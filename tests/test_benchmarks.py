"""The training benchmarks run, at sizes too small for meaningful measurements."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

DATA = ["data.source.cases=10", "data.source.slices=8", "data.source.size=64", "data.size=64"]


@pytest.mark.parametrize(
    "line",
    [
        ["networks.py", "--size=32", "--batch=2", "--width=4", "--repeats=1"],
        ["augmentation.py", "--size", "8", "32", "32", "--repeats=1", "--patches=2"],
        ["networks.py", "--dims=3", "--size", "16", "32", "32", "--batch=1", "--width=2", "--repeats=1"],
        ["memory.py", "--size=32", "--batch=2", "--width=4", "--repeats=1"],
        ["training.py", "--epochs=2", "--steps=1", *DATA, "model.width=4", "data.source.workers=1"],
    ],
    ids=lambda line: line[0],
)
def test_benchmark_runs(line: list[str], tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "benchmarks" / line[0]), *line[1:]]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "|---|---|" in done.stdout
