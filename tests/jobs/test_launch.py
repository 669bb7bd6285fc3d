"""The number of processes of a job."""

from typing import Any

import pytest

from kitsseg.jobs import launch
from kitsseg.system import gpus


@pytest.mark.parametrize(
    ("trainer", "count"),
    [
        ({"devices": 1, "accelerator": "cpu"}, 1),
        ({"devices": 3}, 3),
        ({"devices": "2"}, 2),
        ({"devices": [0, 2], "accelerator": "gpu"}, 2),
        ({"devices": "0,1,3", "accelerator": "gpu"}, 3),
        ({"devices": "0,", "accelerator": "gpu"}, 1),
        ({"devices": "auto", "accelerator": "cpu"}, 1),
        ({}, 1),
    ],
)
def test_requested_number_of_processes(trainer: dict[str, Any], count: int) -> None:
    assert launch.requested_ranks(trainer) == count


def test_a_trainer_without_devices_uses_all_of_them_as_lightning_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with launch._devices({"accelerator": "cpu"}, 1) as env:
        assert env == {}
    monkeypatch.setattr(gpus, "visible", lambda: ["0", "1"])
    assert launch.requested_ranks({"accelerator": "gpu"}) == 2


def test_processes_of_torchrun_must_be_as_many_as_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise each would train on its own and write the same files."""
    launch.check_ranks(4)  # one process starts the others
    monkeypatch.setenv("WORLD_SIZE", "4")
    launch.check_ranks(4)
    with pytest.raises(ValueError, match="4 processes were started, .* ask for 1; set trainer.devices"):
        launch.check_ranks(1)
