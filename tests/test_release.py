"""The files of a release agree with the package: versions, workflows, containers, constraints."""

import os
import re
import shlex
import subprocess
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import kitsseg
from tests import ROOT
from tests.helpers.commands import find_problems

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
DOCKERFILE = (ROOT / "containers" / "Dockerfile").read_text()
APPTAINER = (ROOT / "containers" / "Apptainer.def").read_text()
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def read_commands() -> dict[str, str]:
    """Return the shell commands of all workflows by the name of their step, or by themselves."""
    jobs = [job for path in WORKFLOWS for job in yaml.safe_load(path.read_text())["jobs"].values()]
    steps = [step for job in jobs for step in job["steps"] if "run" in step]
    return {step.get("name", step["run"]): step["run"] for step in steps}


def test_versions_agree() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == kitsseg.__version__
    released = re.findall(r"^## \[(\d.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert released[0] == kitsseg.__version__


@pytest.mark.parametrize(
    ("tag", "code"), [(f"v{kitsseg.__version__}", 0), (kitsseg.__version__, 1), ("v99.0", 1)]
)
def test_only_a_tag_of_the_version_is_released(tag: str, code: int) -> None:
    run = ["bash", "-eo", "pipefail", "-c", read_commands()["the tag is the version"]]
    env = {**os.environ, "GITHUB_REF_NAME": tag}
    done = subprocess.run(run, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert (f"tag {tag}: kitsseg.__version__ is {kitsseg.__version__}" in done.stdout) == bool(code)


def test_workflows_use_existing_make_targets() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    used = set(re.findall(r"\bmake ([\w-]+)", "\n".join(read_commands().values())))
    assert {"dist", "audit", "image"} <= used <= targets


@pytest.mark.parametrize("step", ["the demo, small", "one small run"])
def test_workflows_train_with_valid_values(step: str) -> None:
    _, _, arguments = read_commands()[step].partition("kitsseg.train ")
    values = [each for each in shlex.split(arguments) if each != "-m"]
    assert find_problems("train", values, multirun="-m" in arguments) == []


def test_containers_have_the_same_contents() -> None:
    copied = [line.split()[1:-1] for line in DOCKERFILE.splitlines() if line.startswith("COPY")]
    names = [name for line in copied for name in line]
    assert all((ROOT / name).exists() for name in names)
    assert names == re.findall(r"^ +(\S+) /usr/src/kitsseg/\1$", APPTAINER, re.M)
    installs = re.findall("pip install.*", DOCKERFILE)
    assert len(installs) == 2 and installs == re.findall("pip install.*", APPTAINER)
    assert "ARG PIP_EXTRA_INDEX_URL\n" in DOCKERFILE and "    PIP_EXTRA_INDEX_URL=\n" in APPTAINER
    (extras,) = re.findall(r"'\.\[(.*)\]'", installs[1])
    assert set(extras.split(",")) <= set(EXTRAS)


def test_constraints_pin_what_is_audited() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    pins = dict(line.split("==") for line in lines)
    assert len(pins) == len(lines)
    pinned = {canonicalize_name(name): version for name, version in pins.items()}
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    for extra in EXTRAS.keys() - {"benchmark"}:
        needed += EXTRAS[extra]
    for each in map(Requirement, needed):
        # The build needs setuptools in any version that pyproject.toml admits.
        if each.name not in ("kitsseg", "setuptools"):
            assert canonicalize_name(each.name) in pinned, f"{each} is not in constraints.txt"
            assert each.specifier.contains(pinned[canonicalize_name(each.name)]), str(each)
