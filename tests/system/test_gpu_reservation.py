"""Jobs reserve GPUs, so that each GPU runs one job at a time."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from kitsseg.system import gpus
from tests import ROOT


def test_gpu_runs_one_job_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with gpus.reserved(2, ["0", "1", "2"]) as first:
        with gpus.reserved(1, ["0", "1", "2"]) as second:
            assert (first, second) == (["0", "1"], ["2"])
        code = "from kitsseg.system import gpus\nwith gpus.reserved(2, ['0', '1', '2']) as g: print(g)"
        line = [sys.executable, "-c", code]
        env = {**os.environ, "TMPDIR": str(tmp_path)}
        waiting = subprocess.Popen(line, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(2)
    assert waiting.communicate(timeout=20)[0] == "['0', '1']\n"


def test_requesting_too_many_gpus_is_an_error() -> None:
    with (
        pytest.raises(ValueError, match="trainer.devices=2: this machine has 1 GPUs to use"),
        gpus.reserved(2, ["0"]),
    ):
        pass
