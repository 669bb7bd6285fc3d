"""What W&B's server gets of a run: synced later, sent at once, cut off, gone on with."""

import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kitsseg.tracking import guarded, run_ids
from kitsseg.tracking.guarded import opened
from kitsseg.tracking.wandb_run import WandbRun
from tests.reporting.html.made import record, write_run
from tests.tracking.service import Run, Service, serving

ROOT = Path(guarded.__file__).parents[2]


def part(folder: Path, numbers: range, error: BaseException | None = None, **changes: Any) -> None:
    """One process's part of a sweep's job: some epochs, and perhaps an error at its end."""
    import wandb

    about = {"sweep": str(folder.parent), "experiment_name": "demo", "model": "unet", **changes}
    with (
        suppress(*([type(error)] if error is not None else [])),
        opened([partial(WandbRun, str(folder), **about)]) as loggers,
    ):
        loggers[0].log_hyperparams({"seed": 0, "last": numbers[-1]})
        log(loggers[0], numbers)
        if error is not None:
            raise error
    wandb.teardown()  # as the end of a process does


def log(logger: Any, numbers: range) -> None:
    for epoch in numbers:
        logger.log_metrics({"val/loss": epoch / 10, "epoch": epoch}, epoch)
        logger.log_metrics({"train/loss": epoch / 5, "epoch": epoch}, epoch)


def sync(*parts: Path) -> None:
    """The command of the README."""
    paths = [str(path) for folder in parts for path in sorted(folder.glob("wandb/offline-run-*"))]
    assert paths
    command = [sys.executable, "-m", "wandb", "sync", *paths]
    home = os.environ["HOME"]  # it leaves its own log where it is called
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, cwd=home)


def only(service: Service) -> Run:
    assert not service.unknown
    ((number, run),) = service.runs.items()
    assert run.about["name"] == number
    return run


def check_whole(run: Run, epochs: int) -> None:
    """Every row is there once, in its order, and none was written over."""
    assert not run.replaced
    assert [row["_step"] for row in run.history] == list(range(2 * epochs))
    assert run.curve("val/loss") == pytest.approx([epoch / 10 for epoch in range(epochs)])
    assert run.curve("train/loss") == pytest.approx([epoch / 5 for epoch in range(epochs)])


def test_parts_of_a_run_are_synced_into_one(service: Service, tmp_path: Path) -> None:
    sweep = tmp_path / "demo"
    part(sweep / "a", range(2), KeyboardInterrupt())
    part(sweep / "a", range(2, 3), ValueError("no luck"))
    part(sweep / "a", range(3, 5))
    part(sweep / "b", range(1), ValueError("no luck"))
    assert not service.asked  # offline is offline
    sync(sweep / "a", sweep / "b")
    ids = {name: run_ids.read(sweep / name, "wandb")["id"] for name in "ab"}
    assert set(service.runs) == set(ids.values()) and not service.unknown
    done, failed = service.runs[ids["a"]], service.runs[ids["b"]]
    check_whole(done, 5)
    check_whole(failed, 1)
    assert (done.exits, failed.exits) == ([255, 1, 0], [1])
    for name, run in (("a", done), ("b", failed)):
        about = run.about
        assert (about["displayName"], about["groupName"], about["project"]) == (name, "demo", "kitsseg")
        assert about["jobType"] == "train" and about["tags"] == ["unet"]
    assert (done.config["seed"], done.config["last"], done.config["model_name"]) == (0, 4, "unet")
    assert done.summary["outcome"] == "complete" and "error" not in done.summary
    assert failed.summary["error"] == "ValueError: no luck"


def test_what_is_gone_on_with_after_syncing_goes_on_there(service: Service, tmp_path: Path) -> None:
    job = tmp_path / "demo" / "a"
    part(job, range(2), ValueError("no luck"))
    sync(job)
    assert only(service).exits == [1]
    part(job, range(2, 4))
    sync(job)
    check_whole(only(service), 4)
    assert only(service).exits == [1, 0]


def test_a_whole_run_with_tables_slices_and_weights(service: Service, tmp_path: Path) -> None:
    made = record("unet", [0.1, 0.5], [0.2, 0.9])
    job = write_run(tmp_path / "demo" / "a", made)
    (job / "checkpoints" / "train").mkdir(parents=True)
    (job / "checkpoints" / "train" / "best.ckpt").write_bytes(b"weights")
    with opened([partial(WandbRun, str(job))]) as loggers:
        log(loggers[0], range(1))
        guarded.log_run(loggers, made, job)
    sync(job)
    run = only(service)
    assert run.exits == [0] and run.summary["final/val_tumor"] == pytest.approx(0.55)
    files = {each["artifactTypeName"]: each for each in service.artifacts.values()}
    assert {each["state"] for each in files.values()} == {"COMMITTED"}
    assert files["model"]["files"]["train/best.ckpt"] == b"weights"
    assert files["result"]["files"]["result.json"] == (job / "result.json").read_bytes()
    assert run.summary["cases"]["path"] in run.uploads
    shown = {name for name in run.uploads if name.startswith("media/images/slices/")}
    wanted = {name for role in ("best", "worst") for name in run.summary[f"slices/{role}"]["filenames"]}
    assert shown == wanted


def test_online_it_goes_on_in_the_same_run(service: Service, tmp_path: Path) -> None:
    job = tmp_path / "demo" / "a"
    part(job, range(2), ValueError("no luck"), offline=False)
    check_whole(only(service), 2)
    assert only(service).summary["error"] == "ValueError: no luck"
    part(job, range(2, 4), offline=False)
    check_whole(only(service), 4)
    assert only(service).exits == [1, 0]
    # What an earlier part said of its end isn't said of the run that came to its end.
    assert only(service).summary["outcome"] == "complete" and "error" not in only(service).summary
    assert not list(job.glob("wandb/offline-run-*"))


def test_online_goes_on_with_what_was_offline(service: Service, tmp_path: Path) -> None:
    job = tmp_path / "demo" / "a"
    part(job, range(2), KeyboardInterrupt())
    part(job, range(2, 4), offline=False)
    check_whole(only(service), 4)
    sync(job)  # has nothing left to send
    check_whole(only(service), 4)
    assert only(service).exits == [0]


def test_killed_online_nothing_is_missing_when_it_goes_on(service: Service, tmp_path: Path) -> None:
    job = tmp_path / "demo" / "a"
    script = (
        "import os, signal, sys\n"
        "from kitsseg.tracking.wandb_run import WandbRun\n"
        "run = WandbRun(sys.argv[1], offline=False)\n"
        "for epoch in range(3):\n"
        "    for name, value in (('val/loss', epoch / 10), ('train/loss', epoch / 5)):\n"
        "        run.log_metrics({name: value, 'epoch': epoch}, epoch)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(job)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not only(service).exits and len(only(service).history) < 6
    part(job, range(3, 5), offline=False)
    check_whole(only(service), 5)
    assert only(service).exits == [0]


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("refused", [False, True])
def test_the_server_goes_away_in_the_middle(
    refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Training isn't held up, its end is bounded, and the documented command sends what is left."""
    job = tmp_path / "demo" / "a"
    service = Service()
    make = partial(WandbRun, str(job), offline=False, settings={"finish_timeout": 2})
    with ExitStack() as stack:
        stack.enter_context(serving(service))
        monkeypatch.setenv("WANDB_BASE_URL", service.url)
        part(job, range(2), ValueError("no luck"), offline=False)
        with caplog.at_level(logging.WARNING), opened([make]) as loggers:
            log(loggers[0], range(2, 3))
            began = time.monotonic()
            if refused:
                stack.close()
            else:
                service.hang()
            log(loggers[0], range(3, 5))
            ended = time.monotonic()
        assert ended - began < 5 and time.monotonic() - ended < 30
        check_whole(only(service), 2)
        (line,) = [message for message in caplog.messages if message.startswith("W&B: ")]
        assert line == (
            f"W&B: not all was sent within 2 s; it is kept: wandb sync {job}/wandb/offline-run-*"
        )
    with serving(service, int(service.url.rpartition(":")[2])):
        if refused:
            sync(job)
        else:
            part(job, range(5, 6), offline=False)
    check_whole(only(service), 5 if refused else 6)
    assert only(service).exits == [1, 0]
