"""The scripts in ``docs/`` run."""

from pathlib import Path

from tests import ROOT
from tests.helpers import forks


def test_training_without_hydra(blocks: Path, tmp_path: Path) -> None:
    script = str(ROOT / "docs/how-to/train_without_hydra.py")
    done = forks.command(tmp_path, str(blocks), str(tmp_path), "1", name=script)
    assert done.returncode == 0, done.stderr
    assert "val/tumour_dice" in done.stdout and "voxels of kidney and tumour" in done.stdout
    assert (tmp_path / "best.ckpt").is_file()
