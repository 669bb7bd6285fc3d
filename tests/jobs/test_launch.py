"""The number of processes of a job."""

from typing import Any

import pytest

from kitsseg.jobs import launch


@pytest.mark.parametrize(
    ("trainer", "count"),
    [
        ({"devices": 1, "accelerator": "cpu"}, 1),
        ({"devices": 3}, 3),
        ({"devices": "2"}, 2),
        ({"devices": [0, 2], "accelerator": "gpu"}, 2),
        ({"devices": "0,1,3", "accelerator": "gpu"}, 3),
        ({"devices": "auto", "accelerator": "cpu"}, 1),
        ({}, 1),
    ],
)
def test_requested_number_of_processes(trainer: dict[str, Any], count: int) -> None:
    assert launch.requested_ranks(trainer) == count
