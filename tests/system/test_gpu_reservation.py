"""Jobs reserve GPUs, so that each GPU runs one job at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

from kitsseg.system import gpus
from tests import ROOT


def test_gpu_runs_one_job_at_a_time(tmp_path: Path) -> None:
    with gpus.reserved(2, ["0", "1", "2"], tmp_path) as first:
        with gpus.reserved(1, ["0", "1", "2"], tmp_path) as second:
            assert (first, second) == (["0", "1"], ["2"])
        code = (
            "import sys, pathlib; from kitsseg.system import gpus\n"
            "with gpus.reserved(2, ['0', '1', '2'], pathlib.Path(sys.argv[1])) as g: print(g)"
        )
        line = [sys.executable, "-c", code, str(tmp_path)]
        waiting = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(2)
    assert waiting.communicate(timeout=20)[0] == "['0', '1']\n"


def test_requesting_too_many_gpus_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="trainer.devices=2: this machine has 1 GPUs to use"),
        gpus.reserved(2, ["0"], tmp_path),
    ):
        pass
