"""Ctrl-C ends a command with one line and exit code 130."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import ROOT
from tests.commands.test_train import SMALL
from tests.conftest import blocky, write_case

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")


def interrupted(folder: Path, wait_s: float, *arguments: str) -> tuple[int, list[str]]:
    """Interrupt a command after its workers started; return its exit code and errors."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    end = time.monotonic() + 30
    while not Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().strip():
        assert time.monotonic() < end
        time.sleep(0.01)
    time.sleep(wait_s)
    os.killpg(process.pid, signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    return process.returncode, errors.splitlines()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder whose ``raw`` has so many cases that reading takes longer than any test waits."""
    folder = tmp_path_factory.mktemp("many")
    first = write_case(folder / "raw", 0, *blocky(0, 120, 192, 192)).image.parent
    for number in range(1, 1000):
        shutil.copytree(first, folder / "raw" / f"case_{number:05d}", copy_function=os.link)
    return folder


@pytest.mark.parametrize("wait_s", [0.1, 1.5])
def test_interrupt_is_reported_in_one_line(many: Path, wait_s: float) -> None:
    code, lines = interrupted(many, wait_s, "kitsseg.verify", "root=raw", "workers=2")
    assert code == 130
    assert lines == ["kitsseg.verify: interrupted; no report was written"]


@pytest.mark.parametrize(
    ("number", "options", "code", "line"),
    [
        (signal.SIGTERM, [], 143, "stopped by SIGTERM; repeat the command to resume"),
        (signal.SIGINT, [], 130, "interrupted; repeat the command to resume"),
        (signal.SIGINT, ["-m", "seed=0,1"], 130, "interrupted; repeat the command to resume"),
    ],
)
def test_stopped_training_prints_one_line_and_exits_with_its_code(
    tmp_path: Path, number: signal.Signals, options: list[str], code: int, line: str
) -> None:
    arguments = [
        *options[:1],
        *SMALL,
        *options[1:],
        "model=unet",
        "trainer.max_epochs=9999",
        "logger=none",
    ]
    log = tmp_path / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "kitsseg.train", *arguments], cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=file, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        end = time.monotonic() + 90
        while "epoch 2/" not in log.read_text():
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.1)
        process.send_signal(number)
        errors = process.communicate(timeout=60)[1]
    assert process.returncode == code
    lines = [text for text in errors.splitlines() if text and "drawing phantom" not in text]
    assert lines == [f"kitsseg.train: {line}"]
    states = [json.loads(path.read_text())["status"] for path in tmp_path.rglob("status.json")]
    assert states == ["interrupted"]
