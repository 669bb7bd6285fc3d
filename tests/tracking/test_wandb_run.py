"""Offline W&B runs, read back from their files, and the fallback to offline mode."""

import logging
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kitsseg.tracking import safe_logger, tracking_file
from kitsseg.tracking.safe_logger import open_loggers
from kitsseg.tracking.wandb_run import NO_API_KEY, WandbRun, group_name, has_api_key, select_mode
from tests.helpers import own_labels
from tests.reporting.html.made import record, write_run
from tests.tracking.reading import fragments, only


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Remove all W&B settings and credentials from the environment."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path))
    yield
    import wandb

    wandb.teardown()


def epochs(logger: Any, numbers: range, prefix: str = "") -> None:
    """Log as Lightning does after each epoch: validation and training separately."""
    for epoch in numbers:
        step = 3 * epoch + 2
        logger.log_metrics({f"{prefix}val/loss": 1 - 0.1 * epoch, "epoch": epoch}, step)
        logger.log_metrics({f"{prefix}train/loss": 0.5 - 0.1 * epoch, "epoch": epoch}, step)


def test_a_finished_run(tmp_path: Path) -> None:
    run = record("unet", [0.1, 0.5, 0.9], [0.2, None, 0.9])
    sweep = tmp_path / "demo" / "2026-01-01"
    folder = write_run(sweep / "0_model=unet", run)
    for stage in ("train", "finetune"):
        (folder / "checkpoints" / stage).mkdir(parents=True)
        (folder / "checkpoints" / stage / "best.ckpt").write_bytes(b"weights")
    make = partial(
        WandbRun, str(folder), sweep=str(sweep), experiment_name="demo", model="unet", tags=["x"]
    )
    with open_loggers([make]) as loggers:
        loggers[0].log_hyperparams({"seed": 0, "model": {"width": 8}})
        epochs(loggers[0], range(4))
        epochs(loggers[0], range(2), "finetune/")
        safe_logger.log_run(loggers, run, folder)

    held = only(folder)
    assert held.exit_code == 0 and held.summary["outcome"] == "complete"
    assert held.run["run_id"] == tracking_file.read(folder, "wandb")["id"]
    assert (held.run["display_name"], held.run["run_group"]) == ("0_model=unet", "demo/2026-01-01")
    assert held.run["project"] == "kitsseg" and held.run["tags"] == ["unet", "x"]
    assert held.config["seed"] == 0 and held.config["model"] == {"width": 8}
    assert held.config["model_name"] == "unet" and held.config["commit"]
    assert held.run["git"]["commit"].startswith(held.config["commit"].split("-")[0])
    # Each stage has its own epoch axis, and all rows are present.
    assert held.axes["val/*"] == "epoch" and held.axes["finetune/val/*"] == "finetune/epoch"
    assert held.curve("val/loss") == pytest.approx([1, 0.9, 0.8, 0.7])
    assert held.curve("finetune/train/loss") == pytest.approx([0.5, 0.4])
    assert held.curve("epoch") == [0, 0, 1, 1, 2, 2, 3, 3]
    assert held.curve("finetune/epoch") == [0, 0, 1, 1]
    assert [row["_step"] for row in held.history] == list(range(len(held.history)))
    assert held.summary["final/val_tumor"] == pytest.approx(0.55)
    assert held.summary["before/val_tumor"] == pytest.approx(0.5)
    table = held.table("cases")
    rows = {row[1]: dict(zip(table["columns"], row, strict=True)) for row in table["data"]}
    assert rows["case_00010"]["tumour"] == 0.2 and rows["case_00011"]["tumour"] is None
    pictures = [row for row in held.history if "slices/worst._type" in row][0]
    masks = pictures["slices/worst.all_masks"]
    assert len(masks) == pictures["slices/worst.count"] == len(pictures["slices/worst.captions"])
    assert set(masks[0]) == {"truth", "prediction", "before"}
    assert all((held.files / mask["path"]).is_file() for mask in masks[0].values())
    # Checkpoints are referenced in the run folder, not copied to the home.
    weights = held.artifacts[f"model-{held.run['run_id']}"]["manifest"]["contents"]
    assert {each["path"]: each["local_path"] for each in weights} == {
        f"{stage}/best.ckpt": str(folder / "checkpoints" / stage / "best.ckpt")
        for stage in ("train", "finetune")
    }
    assert f"result-{held.run['run_id']}" in held.artifacts
    lying = [c["local_path"] for a in held.artifacts.values() for c in a["manifest"]["contents"]]
    assert all(Path(path).is_relative_to(folder) and Path(path).is_file() for path in lying)


def test_a_run_with_its_own_labels(tmp_path: Path) -> None:
    run = own_labels.run_of(own_labels.KITS23, "unet", [0.5, 0.7])
    folder = own_labels.write_run(tmp_path / "job", run)
    with open_loggers([partial(WandbRun, str(folder))]) as loggers:
        safe_logger.log_run(loggers, run, folder)
    held = only(folder)
    assert held.summary["final/val_kidney_and_masses"] == pytest.approx(0.6)
    assert held.summary["final/val_tumour"] == pytest.approx(0.58)
    assert "tumour_predicted_ml" in held.table("cases")["columns"]
    (masks,) = [row for row in held.config["_wandb"]["mask/class_labels"].items() if "truth" in row[0]]
    assert masks[1]["value"] == {"1": "kidney", "2": "tumour", "3": "cyst"}


def test_a_resumed_folder_resumes_its_run(tmp_path: Path) -> None:
    make = partial(WandbRun, str(tmp_path / "job"))
    with pytest.raises(KeyboardInterrupt), open_loggers([make]) as loggers:
        epochs(loggers[0], range(2))
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match="no luck"), open_loggers([make]) as loggers:
        epochs(loggers[0], range(2, 3))
        raise ValueError("no luck")
    with open_loggers([make]) as loggers:
        epochs(loggers[0], range(3, 4))
    with open_loggers([partial(WandbRun, str(tmp_path / "other"))]) as loggers:
        epochs(loggers[0], range(1))
    parts = fragments(tmp_path / "job")
    assert len({part.run["run_id"] for part in parts}) == 1 and len(parts) == 3
    assert only(tmp_path / "other").run["run_id"] != parts[0].run["run_id"]
    assert [part.exit_code for part in parts] == [255, 1, 0]
    assert [p.summary["outcome"] for p in parts] == ["interrupted", "failed", "complete"]
    assert parts[1].summary["error"] == "ValueError: no luck"
    steps = [row["_step"] for part in parts for row in part.history]
    assert steps == sorted(set(steps)) and len(steps) == 8
    assert [v for part in parts for v in part.curve("val/loss")] == pytest.approx([1, 0.9, 0.8, 0.7])


# ---- online mode


def test_without_an_api_key_the_run_is_offline(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not has_api_key()
    create = partial(WandbRun, str(tmp_path / "job"), offline=False)
    with caplog.at_level(logging.WARNING), open_loggers([create]) as loggers:
        epochs(loggers[0], range(2))
    (line,) = caplog.messages
    command = f"wandb sync {tmp_path}/job/wandb/offline-run-*"
    assert line == f"W&B: {NO_API_KEY}; the run is offline, send it later: {command}"
    assert only(tmp_path / "job").curve("val/loss") == pytest.approx([1, 0.9])


def test_an_unreachable_server_delays_the_start_only_briefly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    settings = {"base_url": "http://127.0.0.1:9", "init_timeout": 2}
    started = time.monotonic()
    create = partial(WandbRun, str(tmp_path / "job"), offline=False, settings=settings)
    with caplog.at_level(logging.WARNING), open_loggers([create]) as loggers:
        epochs(loggers[0], range(2))
    assert time.monotonic() - started < 30
    (line,) = [message for message in caplog.messages if message.startswith("W&B: ")]
    assert "the run is offline" in line
    run = only(tmp_path / "job")
    assert run.curve("val/loss") == pytest.approx([1, 0.9]) and run.exit_code == 0


@pytest.mark.parametrize(
    ("variable", "offline", "expected"),
    [
        ("", True, "offline"), ("", False, "online"), ("online", True, "offline"),
        ("offline", False, "offline"), ("dryrun", False, "offline"), ("disabled", True, "disabled"),
    ],
)  # fmt: skip
def test_wandb_mode_can_disable_sending_but_not_enable_it(
    variable: str, offline: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", variable)
    assert select_mode(offline) == expected


def test_a_disabled_run_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    run = record("unet", [0.1], [0.2])
    folder = write_run(tmp_path / "job", run)
    with open_loggers([partial(WandbRun, str(folder))]) as loggers:
        epochs(loggers[0], range(2))
        safe_logger.log_run(loggers, run, folder)
        assert not loggers[0].warned
    assert not list((folder / "wandb").glob("*run*"))


def test_a_full_disk_does_not_end_the_run(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = small_disk / "job"
    with caplog.at_level(logging.WARNING), open_loggers([partial(WandbRun, str(folder))]) as loggers:
        (small_disk / "filler").write_bytes(b"x" * 150_000)
        with pytest.raises(OSError, match="No space left"), (small_disk / "more").open("wb", 0) as file:
            while True:
                file.write(b"x" * 4096)
        epochs(loggers[0], range(20))
    assert len([m for m in caplog.messages if m.startswith("WandbRun: OSError")]) == 1


@pytest.mark.parametrize(
    ("folder", "sweep", "name", "group"),
    [
        ("out/demo/now/0_a", "out/demo/now", "demo", "demo/now"),
        ("out/demo/0_a", "out/demo", "demo", "demo"),
        ("out/demo/now/0_a", "out/demo/now", None, "now"),
        ("out/demo/now", "out/demo/now", "demo", ""),
        ("out/demo/alone", "out/demo/now", "demo", ""),
        ("out/demo/alone", None, "demo", ""),
    ],
)
def test_the_group_is_named_after_the_sweep(
    folder: str, sweep: str | None, name: str | None, group: str
) -> None:
    assert group_name(Path(folder), sweep, name) == group
