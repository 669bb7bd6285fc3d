"""A process that trains begins with its C library's settings, once, and leaves a user's own alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kitsseg.system import drivers, memory

pytestmark = pytest.mark.skipif(sys.platform != "linux" or drivers.there(), reason="nothing is set here")
SHOW = "import os, sys; print(os.environ.get('GLIBC_TUNABLES'), sys.argv[1:], os.getpid())"


def begun(tmp_path: Path, module: str, **env: str) -> list[str]:
    """What a package says that has the name of one of ours, and this one's first lines."""
    package = tmp_path / "kitsseg"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text("from kitsseg import memory\nmemory.settle()\n")
    for name in ("memory", "invoked"):
        (package / f"{name}.py").write_text((Path(memory.__file__).parent / f"{name}.py").read_text())
    for name in ("train", "predict"):
        (package / f"{name}.py").write_text(SHOW)
    clean = {k: v for k, v in os.environ.items() if k != memory.VARIABLE}
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", module, "a=1", "-m", "b c"],
        cwd=tmp_path, env={**clean, **env}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    said = process.communicate(timeout=60)[0].split("\n")
    assert process.returncode == 0
    assert said[0].endswith(f" {process.pid}")  # the same process, begun anew
    assert "['a=1', '-m', 'b c']" in said[0]
    return said[0].split()


def test_it_begins_anew_with_them(tmp_path: Path) -> None:
    told = begun(tmp_path, "kitsseg.train")[0]
    assert told.split(":") == [
        "glibc.malloc.hugetlb=1", "glibc.malloc.mmap_max=0",
        "glibc.malloc.trim_threshold=1099511627776", "glibc.malloc.top_pad=268435456",
    ]  # fmt: skip


@pytest.mark.parametrize("own", ["", "glibc.malloc.check=0"])
def test_a_users_own_stay(tmp_path: Path, own: str) -> None:
    assert begun(tmp_path, "kitsseg.train", GLIBC_TUNABLES=own)[0] == (own if own else "['a=1',")


def test_other_commands_begin_as_they_are(tmp_path: Path) -> None:
    assert begun(tmp_path, "kitsseg.predict")[0] == "None"


def test_who_imports_us_stays_what_it_is() -> None:
    before = dict(os.environ)
    memory.settle()
    assert dict(os.environ) == before
