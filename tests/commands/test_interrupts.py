"""Ctrl-C while a command works is one line and exit code 130."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import ROOT
from tests.conftest import blocky, write_case

pytestmark = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="nowhere to look")


def interrupted(folder: Path, wait_s: float, *arguments: str) -> tuple[int, list[str]]:
    """The exit code of a command whose terminal interrupts it after so long, and what it said."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    wait_for_imports(process.pid)
    time.sleep(wait_s)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    return process.returncode, said.splitlines()


def wait_for_imports(pid: int) -> None:
    """Until Python itself has begun and a package's first library is in memory."""
    end = time.monotonic() + 20
    while "site-packages" not in Path(f"/proc/{pid}/maps").read_text():
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose ``raw`` holds cases to read for longer than any test waits."""
    folder = tmp_path_factory.mktemp("many")
    first = write_case(folder / "raw", 0, *blocky(0, 120, 192, 192)).image.parent
    for number in range(1, 1000):
        shutil.copytree(first, folder / "raw" / f"case_{number:05d}", copy_function=os.link)
    return folder


@pytest.mark.parametrize("wait_s", [1.6, 2.4])
def test_while_its_processes_begin(many: Path, wait_s: float) -> None:
    code, lines = interrupted(many, wait_s, "kitsseg.verify", "root=raw", "workers=2")
    said = [line for line in lines if "reading cases" not in line and line]
    assert (code, len(said)) == (
        130,
        1,
    ) and "kitsseg.verify: interrupted; no report was written" in said[0]
