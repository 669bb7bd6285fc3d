"""A wheel built from the repository contains the configuration files and works in another folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests import ROOT


@pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="not a checkout")
def test_wheel_contains_the_configs_and_runs(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", "77")
    # Build from a copy, because setuptools leaves a build folder.
    source = tmp_path / "source"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in files.stdout.decode().split("\0"):
        if name.startswith(("kitsseg/", "conf/", "pyproject", "README", "LICENSE")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w"]
    subprocess.run([*pip, tmp_path, source], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
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
