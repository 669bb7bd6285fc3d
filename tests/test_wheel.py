"""The source distribution is the repository. The wheel built from it works in another folder."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests import ROOT

pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")


def list_files() -> set[str]:
    """Return the files of the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    return {name for name in listed.stdout.decode().split("\0") if (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the command of `make dist` in a copy, because setuptools leaves a build folder."""
    folder = tmp_path_factory.mktemp("dist")
    for name in list_files():
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "source" / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, folder / "source"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_source_distribution_is_the_repository(dist: Path) -> None:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {m.name.partition("/")[2] for m in archive.getmembers() if m.isfile()}
    generated = {"PKG-INFO", "setup.cfg"}
    assert {n for n in names if not n.startswith("kitsseg.egg-info/")} == list_files() | generated


def test_wheel_contains_the_configs_and_runs(dist: Path, tmp_path: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    shipped = {p.relative_to(ROOT / "conf") for p in (ROOT / "conf").rglob("*.yaml")}
    packed = tmp_path / "site" / "kitsseg" / "conf"
    assert {p.relative_to(packed) for p in packed.rglob("*.yaml")} == shipped
    modules = {p.relative_to(ROOT) for p in (ROOT / "kitsseg").rglob("*.py")}
    assert {p.relative_to(tmp_path / "site") for p in (tmp_path / "site").rglob("*.py")} == modules
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-m", "kitsseg.train", "--cfg", "job", "model=unet"],
        cwd=tmp_path, env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "_target_: kitsseg.models.unet.UNet" in done.stdout
