"""W&B runs as a server receives them: synced later, online, resumed, and with the server gone."""

import logging
import os
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kitsseg.tracking import safe_logger, tracking_file
from kitsseg.tracking.safe_logger import open_loggers
from kitsseg.tracking.wandb_run import WandbRun
from tests.reporting.html.made import record, write_run
from tests.tracking.service import Run, Service, serving


def attempt(folder: Path, epochs: range, error: BaseException | None = None, **options: Any) -> None:
    """Log epochs as one process does, and raise ``error`` at the end."""
    import wandb

    options = {"sweep": str(folder.parent), "experiment_name": "demo", "model": "unet", **options}
    with (
        suppress(*([type(error)] if error is not None else [])),
        open_loggers([partial(WandbRun, str(folder), **options)]) as loggers,
    ):
        loggers[0].log_hyperparams({"seed": 0, "last": epochs[-1]})
        log(loggers[0], epochs)
        if error is not None:
            raise error
    wandb.teardown()


def log(logger: Any, epochs: range) -> None:
    for epoch in epochs:
        logger.log_metrics({"val/loss": epoch / 10, "epoch": epoch}, epoch)
        logger.log_metrics({"train/loss": epoch / 5, "epoch": epoch}, epoch)


def sync(*folders: Path) -> None:
    """Run the command that the warning and the documentation name."""
    paths = [str(path) for folder in folders for path in sorted(folder.glob("wandb/offline-run-*"))]
    assert paths
    command = [sys.executable, "-m", "wandb", "sync", *paths]
    home = os.environ["HOME"]  # the command writes a log into its working directory
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, cwd=home)


def only(service: Service) -> Run:
    """Return the one run that the server has."""
    assert not service.unknown
    ((run_id, run),) = service.runs.items()
    assert run.about["name"] == run_id
    return run


def check_complete(run: Run, epochs: int) -> None:
    """Check that every row is present once and in order."""
    assert [row["_step"] for row in run.history] == list(range(2 * epochs))
    assert run.curve("val/loss") == pytest.approx([epoch / 10 for epoch in range(epochs)])
    assert run.curve("train/loss") == pytest.approx([epoch / 5 for epoch in range(epochs)])


def test_offline_attempts_are_synced_into_one_run(service: Service, tmp_path: Path) -> None:
    sweep = tmp_path / "demo"
    attempt(sweep / "a", range(2), KeyboardInterrupt())
    attempt(sweep / "a", range(2, 3), ValueError("no luck"))
    attempt(sweep / "a", range(3, 5))
    attempt(sweep / "b", range(1), ValueError("no luck"))
    assert not service.asked  # offline mode sends nothing
    sync(sweep / "a", sweep / "b")
    ids = {name: tracking_file.read(sweep / name, "wandb")["id"] for name in "ab"}
    assert set(service.runs) == set(ids.values()) and not service.unknown
    done, failed = service.runs[ids["a"]], service.runs[ids["b"]]
    check_complete(done, 5)
    check_complete(failed, 1)
    assert (done.exits, failed.exits) == ([255, 1, 0], [1])
    for name, run in (("a", done), ("b", failed)):
        about = run.about
        assert (about["displayName"], about["groupName"], about["project"]) == (name, "demo", "kitsseg")
        assert about["jobType"] == "train" and about["tags"] == ["unet"]
    assert (done.config["seed"], done.config["last"], done.config["model_name"]) == (0, 4, "unet")
    assert done.summary["outcome"] == "complete" and "error" not in done.summary
    assert failed.summary["error"] == "ValueError: no luck"


def test_tables_slices_and_checkpoints_are_synced(service: Service, tmp_path: Path) -> None:
    results = record("unet", [0.1, 0.5], [0.2, 0.9])
    job = write_run(tmp_path / "demo" / "a", results)
    (job / "checkpoints" / "train").mkdir(parents=True)
    (job / "checkpoints" / "train" / "best.ckpt").write_bytes(b"weights")
    with open_loggers([partial(WandbRun, str(job))]) as loggers:
        log(loggers[0], range(1))
        safe_logger.log_run(loggers, results, job)
    sync(job)
    run = only(service)
    assert run.exits == [0] and run.summary["final/val_tumor"] == pytest.approx(0.55)
    artifacts = {artifact["artifactTypeName"]: artifact for artifact in service.artifacts.values()}
    assert {artifact["state"] for artifact in artifacts.values()} == {"COMMITTED"}
    assert artifacts["model"]["files"]["train/best.ckpt"] == b"weights"
    assert artifacts["result"]["files"]["result.json"] == (job / "result.json").read_bytes()
    assert run.summary["cases"]["path"] in run.uploads
    images = {name for name in run.uploads if name.startswith("media/images/slices/")}
    roles = ("best", "worst")
    assert images == {name for role in roles for name in run.summary[f"slices/{role}"]["filenames"]}


def test_an_online_run_is_resumed(service: Service, tmp_path: Path) -> None:
    job = tmp_path / "demo" / "a"
    attempt(job, range(2), ValueError("no luck"), offline=False)
    check_complete(only(service), 2)
    assert only(service).summary["error"] == "ValueError: no luck"
    attempt(job, range(2, 4), offline=False)
    check_complete(only(service), 4)
    assert only(service).exits == [1, 0]
    # The error of the first attempt is not in the summary of the complete run.
    assert only(service).summary["outcome"] == "complete" and "error" not in only(service).summary
    assert not list(job.glob("wandb/offline-run-*"))


@pytest.mark.usefixtures("service")
def test_the_server_disappears_during_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Logging does not block, the end of the run is bounded, and the warning names the sync command."""
    job = tmp_path / "demo" / "a"
    service = Service()
    create = partial(WandbRun, str(job), offline=False, settings={"finish_timeout": 2})
    with serving(service):
        monkeypatch.setenv("WANDB_BASE_URL", service.url)
        context = open_loggers([create])
        loggers = context.__enter__()
        log(loggers[0], range(1))
    started = time.monotonic()
    log(loggers[0], range(1, 3))
    assert time.monotonic() - started < 5
    with caplog.at_level(logging.WARNING):
        context.__exit__(None, None, None)
    assert time.monotonic() - started < 30
    (line,) = [message for message in caplog.messages if message.startswith("W&B: ")]
    *_, path = line.split()
    assert line == f"W&B: not sent within 2 s; send it later: wandb sync --include-online {path}"
    assert Path(path).parent == job / "wandb" and Path(path).is_dir()
    with serving(service, int(service.url.rpartition(":")[2])):
        command = [sys.executable, "-m", "wandb", "sync", "--include-online", path]
        subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, cwd=tmp_path)
    check_complete(only(service), 3)
    assert only(service).exits == [0]
