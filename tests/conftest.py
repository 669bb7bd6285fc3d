"""Shared fixtures. They generate all data, so the repository contains none."""

import os

# One thread per process: tests run in parallel, and small tensors do not benefit from more threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_MODE", "offline")

import subprocess
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from kitsseg.data.case import IMAGE_NAME, LABEL_NAME, Case
from kitsseg.data.sources.kits import list_cases
from tests import ROOT

LONGEST = ("docs", "commands", "jobs")  # folders of tests
AFFINE = np.array([[0, 0, -0.8, 0], [0, -0.8, 0, 0], [-3.0, 0, 0, 0], [0, 0, 0, 1]])


def write_case(
    root: Path,
    number: int,
    image: np.ndarray,
    label: np.ndarray,
    affine: np.ndarray = AFFINE,
    label_affine: np.ndarray | None = None,
) -> Case:
    """Write two arrays as a case in KiTS19's layout."""
    folder = root / f"case_{number:05d}"
    folder.mkdir(parents=True)
    case = Case(folder.name, folder / IMAGE_NAME, folder / LABEL_NAME)
    nib.save(nib.Nifti1Image(image, affine), case.image)
    nib.save(nib.Nifti1Image(label, affine if label_affine is None else label_affine), case.label)
    return case


def blocky(number: int, slices: int = 6, height: int = 64, width: int = 64) -> tuple[np.ndarray, ...]:
    """Return image and label: a bright kidney block in three slices, a darker tumour block in two."""
    rng = np.random.default_rng(number)
    image = rng.normal(-50, 20, (slices, height, width)).astype(np.int16)
    image[:, :4] = -1024
    label = np.zeros(image.shape, np.uint8)
    top, left = rng.integers(12, 24, 2)
    label[2:5, top : top + 20, left : left + 16] = 1
    label[3:5, top + 2 : top + 10, left + 2 : left + 10] = 2
    image[label == 1] += 200
    image[label == 2] += 90
    return image, label


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest tests first, so that all workers of pytest-xdist are busy to the end."""
    items.sort(key=lambda item: item.path.relative_to(ROOT).parts[1] not in LONGEST)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder on a separate file system of 200 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting requires root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)  # wandb may still hold a file


@pytest.fixture(scope="session")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with six cases of `blocky`, 6 x 64 x 64."""
    root = tmp_path_factory.mktemp("blocks")
    for number in range(6):
        write_case(root, number, *blocky(number))
    return root


@pytest.fixture(scope="session")
def block_cases(blocks: Path) -> list[Case]:
    return list_cases(blocks)


@pytest.fixture(scope="session")
def guesser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint that predicts all classes at random, in its own folder."""
    from tests.inference.test_segmenter import trained

    return trained(tmp_path_factory.mktemp("checkpoint") / "x.ckpt", 64)
