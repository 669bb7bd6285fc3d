"""The command `kitsseg.prepare`."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from kitsseg.config import CONFIG_DIR
from kitsseg.prepare import run
from tests.conftest import blocky, write_case


def prepare(folder: Path, *overrides: str) -> None:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        run(compose("prepare", [f"paths.data={folder}", "data.prepare_workers=1", *overrides]))


def test_it_says_what_there_is(blocks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # the second time nothing is left to do
        prepare(tmp_path, f"data.root={blocks}", "data.size=32")
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("6 cases, 36 slices: 18 with kidney or tumour, 12 with tumour; in ")
    assert out[0] == out[1]


def test_a_bad_case_is_one_line_and_the_exit_code_tells(tmp_path: Path) -> None:
    image, label = blocky(0)
    write_case(tmp_path / "raw", 0, image, label + 3)
    write_case(tmp_path / "raw", 1, *blocky(1))
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-m", "kitsseg.prepare", "data.root=raw"],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    lines = [line for line in re.split(r"[\r\n]+", done.stderr) if line and "case/s" not in line]
    assert done.returncode == 1
    assert len(lines) == 1 and re.match(
        r"kitsseg.prepare: .*case_00000/segmentation.nii.gz: holds labels \[3, 4, 5\]", lines[0]
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "raw"]  # no folder of outputs
