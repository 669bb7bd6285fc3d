"""The scripts in ``docs/`` run."""

import os
import subprocess
import sys
from pathlib import Path

from tests import ROOT


def test_training_without_hydra(blocks: Path, tmp_path: Path) -> None:
    command = [sys.executable, "docs/how-to/train_without_hydra.py", str(blocks), str(tmp_path), "1"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "val/tumour_dice" in done.stdout and "voxels of kidney and tumour" in done.stdout
    assert (tmp_path / "best.ckpt").is_file()
