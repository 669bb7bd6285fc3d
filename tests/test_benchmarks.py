"""The training benchmarks run, at sizes too small for meaningful measurements."""

from pathlib import Path

import pytest

from tests import ROOT
from tests.helpers import forks

DATA = ["data.source.cases=10", "data.source.slices=8", "data.source.size=64", "data.size=64"]

VOLUMES = [
    "model=unet3d", "model.width=2", "model.depth=2", "data.spacing_mm=null", "data.patch=[8,32,32]",
    "data.patches_per_epoch=4",
]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        ["networks.py", "--size=32", "--batch=2", "--width=4", "--repeats=1"],
        ["augmentation.py", "--size", "8", "32", "32", "--repeats=1", "--patches=2"],
        ["networks.py", "--dims=3", "--size", "16", "32", "32", "--batch=1", "--width=2", "--repeats=1"],
        ["memory.py", "--size=32", "--batch=2", "--width=4", "--repeats=1"],
        ["training.py", "--epochs=2", "--steps=1", *DATA, "model.width=4", "data.source.workers=1"],
        ["training.py", "--epochs=2", "--steps=1", *DATA, "data.source.workers=1", *VOLUMES],
    ],
    ids=lambda line: line[0],
)
def test_benchmark_runs(line: list[str], tmp_path: Path) -> None:
    script = str(ROOT / "benchmarks" / line[0])
    done = forks.command(tmp_path, *line[1:], env={"PYTHONPATH": str(ROOT)}, name=script)
    assert done.returncode == 0, done.stderr
    assert "|---|---|" in done.stdout
