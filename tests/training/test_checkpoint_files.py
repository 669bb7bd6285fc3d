"""What checkpoints hold, and how they are written."""

from pathlib import Path

import numpy as np
import pytest
import torch

from kitsseg.training.callbacks.resume import AtomicCheckpointIO, KeepStopped


def test_failed_write_keeps_the_old_file_and_leaves_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"a": torch.ones(2)}}, path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        AtomicCheckpointIO().save_checkpoint({"state_dict": {"a": torch.zeros(2)}}, path)
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]
    assert torch.load(path, weights_only=True)["state_dict"]["a"].tolist() == [1, 1]


def test_scalars_of_numpy_can_be_loaded(tmp_path: Path) -> None:
    """A schedule that uses numpy puts them into the state of the optimizer."""
    path = tmp_path / "last.ckpt"
    group = {"lr": np.float64(0.5), "params": [0]}
    state = {"state_dict": {"a": torch.ones(2)}, "optimizer_states": [{"param_groups": [group]}]}
    AtomicCheckpointIO().save_checkpoint(state, path)
    assert torch.load(path, weights_only=True)["optimizer_states"][0]["param_groups"][0]["lr"] == 0.5


@pytest.mark.parametrize("state", [np.zeros(2), Path("x"), lambda: 0])
def test_a_state_of_a_callback_that_cannot_be_loaded_is_refused(state: object, tmp_path: Path) -> None:
    content = {"state_dict": {}, "callbacks": {"Own": {"state": state}}}
    with pytest.raises(ValueError, match="the callback Own holds objects"):
        AtomicCheckpointIO().save_checkpoint(content, tmp_path / "last.ckpt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("is_other_run", [False, True])
def test_a_run_that_continues_another_is_not_stopped_by_it(is_other_run: bool) -> None:
    """EarlyStopping had ended the other run, which now gets more epochs."""
    callback = KeepStopped()
    callback.is_other_run = is_other_run
    callback.on_load_checkpoint(None, None, {"stopped": True})  # type: ignore[arg-type]
    assert callback.stopped is not is_other_run
