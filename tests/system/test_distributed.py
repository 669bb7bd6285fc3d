"""Several ranks give the same metrics to the bit, and the same training to rounding."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kitsseg.system import distributed
from tests.helpers import forks


@pytest.fixture(scope="module")
def found(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """Results of `tests.helpers.one_rank` with 1, 2 and 3 ranks; of three, one validates no batch."""
    out = tmp_path_factory.mktemp("ranks")
    return {count: started(count, blocks, out) for count in (1, 2, 3)}


def started(count: int, blocks: Path, out: Path) -> dict[str, Any]:
    codes = forks.run(out, str(blocks), str(out), ranks=count, name="tests.helpers.one_rank")
    assert codes == [0] * count, (out / "said.txt").read_text()
    return dict(json.loads((out / f"{count}.json").read_text()))


@pytest.mark.parametrize("count", [2, 3])
def test_figures_are_bit_equal(found: dict[int, dict[str, Any]], count: int) -> None:
    assert found[count]["validated"] == found[1]["validated"]
    assert found[count]["figures"] == found[1]["figures"]
    assert list(found[count]["figures"]["train"]) == list(
        found[1]["figures"]["train"]
    )  # their order, too


def test_every_case_and_slice_is_counted_once(found: dict[int, dict[str, Any]]) -> None:
    for each in found.values():
        figures = {**each["figures"]["train"], **each["figures"]["validation"]}
        assert len(figures) == 6
        # a kidney of 20 x 16 in three slices, by tests/conftest.py
        assert {case["voxels"]["kidney"][2] for case in figures.values()} == {960}


@pytest.mark.parametrize("count", [2, 3])
def test_training_follows_one_rank_with_the_whole_batch(
    found: dict[int, dict[str, Any]], count: int
) -> None:
    np.testing.assert_allclose(found[count]["losses"], found[1]["losses"], rtol=1e-5)
    for name, value in found[1]["weights"].items():
        np.testing.assert_allclose(
            found[count]["weights"][name], value, rtol=1e-3, atol=1e-5, err_msg=name
        )


def test_it_did_train(found: dict[int, dict[str, Any]]) -> None:
    (first, _), (second, _) = found[1]["losses"]
    assert second < first


@pytest.mark.parametrize(
    ("env", "rank", "count"),
    [
        ({}, 0, 1),
        ({"RANK": "1", "WORLD_SIZE": "2"}, 1, 2),
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}, 1, 2),  # srun
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "2"}, 0, 1),  # a batch script that doesn't use srun
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2", "RANK": "3", "WORLD_SIZE": "4"}, 3, 4),
    ],
)
def test_which_process_this_is(
    env: dict[str, str], rank: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert (distributed.rank(), distributed.world_size()) == (rank, count)
