"""W&B, offline: what its files hold is read back; the network away; nothing lost on continuing."""

import http.server
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kitsseg.tracking import guarded, run_ids
from kitsseg.tracking.guarded import opened
from kitsseg.tracking.wandb_run import WandbRun, group_of
from kitsseg.tracking.wandb_start import mode, unreachable
from tests.reporting.html.made import record, write_run
from tests.tracking.reading import fragments, only


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No account, nothing from the home, and nothing left in the environment."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path))
    yield
    import wandb

    wandb.teardown()


def epochs(logger: Any, numbers: range, prefix: str = "") -> None:
    """What Lightning logs after each epoch of a stage: training and validation apart."""
    for epoch in numbers:
        step = 3 * epoch + 2
        logger.log_metrics({f"{prefix}val/loss": 1 - 0.1 * epoch, "epoch": epoch}, step)
        logger.log_metrics({f"{prefix}train/loss": 0.5 - 0.1 * epoch, "epoch": epoch}, step)


def test_a_finished_run_read_back(tmp_path: Path) -> None:
    run = record("unet", [0.1, 0.5, 0.9], [0.2, None, 0.9])
    sweep = tmp_path / "demo" / "2026-01-01"
    folder = write_run(sweep / "0_model=unet", run)
    for stage in ("train", "finetune"):
        (folder / "checkpoints" / stage).mkdir(parents=True)
        (folder / "checkpoints" / stage / "best.ckpt").write_bytes(b"weights")
    make = partial(
        WandbRun, str(folder), sweep=str(sweep), experiment_name="demo", model="unet", tags=["x"]
    )
    with opened([make]) as loggers:
        loggers[0].log_hyperparams({"seed": 0, "model": {"width": 8}})
        epochs(loggers[0], range(4))
        epochs(loggers[0], range(2), "finetune/")
        guarded.log_run(loggers, run, folder)

    held = only(folder)
    assert held.exit_code == 0 and held.summary["outcome"] == "complete"
    assert held.run["run_id"] == run_ids.read(folder, "wandb")["id"]
    assert (held.run["display_name"], held.run["run_group"]) == ("0_model=unet", "demo/2026-01-01")
    assert held.run["project"] == "kitsseg" and held.run["tags"] == ["unet", "x"]
    assert held.config["seed"] == 0 and held.config["model"] == {"width": 8}
    assert held.config["model_name"] == "unet" and held.config["commit"]
    assert held.run["git"]["commit"].startswith(held.config["commit"].split("-")[0])
    # Two stages, each along its own epochs; no row is lost.
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
    # Weights go along from where they lie, and nothing depends on the home.
    weights = held.artifacts[f"model-{held.run['run_id']}"]["manifest"]["contents"]
    assert {each["path"]: each["local_path"] for each in weights} == {
        f"{stage}/best.ckpt": str(folder / "checkpoints" / stage / "best.ckpt")
        for stage in ("train", "finetune")
    }
    assert f"result-{held.run['run_id']}" in held.artifacts
    lying = [c["local_path"] for a in held.artifacts.values() for c in a["manifest"]["contents"]]
    assert all(Path(path).is_relative_to(folder) and Path(path).is_file() for path in lying)


def test_going_on_with_a_folder_goes_on_with_its_run(tmp_path: Path) -> None:
    make = partial(WandbRun, str(tmp_path / "job"))
    with pytest.raises(KeyboardInterrupt), opened([make]) as loggers:
        epochs(loggers[0], range(2))
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match="no luck"), opened([make]) as loggers:
        epochs(loggers[0], range(2, 3))
        raise ValueError("no luck")
    with opened([make]) as loggers:
        epochs(loggers[0], range(3, 4))
    with opened([partial(WandbRun, str(tmp_path / "other"))]) as loggers:
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


def test_a_killed_run_keeps_what_was_logged(tmp_path: Path) -> None:
    script = (
        "import os, signal, time\n"
        "from kitsseg.tracking.wandb_run import WandbRun\n"
        f"run = WandbRun({str(tmp_path / 'job')!r})\n"
        "for epoch in range(5): run.log_metrics({'val/loss': epoch, 'epoch': epoch}, epoch)\n"
        "time.sleep(2.5)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(guarded.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    held = only(tmp_path / "job")
    assert held.exit_code is None and held.curve("val/loss") == [0, 1, 2, 3, 4]


# ---- the network


class Answers(http.server.BaseHTTPRequestHandler):
    """A server that is there and knows nothing of W&B."""

    def do_POST(self) -> None:
        self.send_response(500)
        self.end_headers()

    do_GET = do_HEAD = do_POST

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def useless() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_what_keeps_a_run_from_being_sent(monkeypatch: pytest.MonkeyPatch, useless: str) -> None:
    assert unreachable(useless) == "no API key (wandb login, or WANDB_API_KEY)"
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    assert unreachable(useless) == ""
    assert unreachable("http://127.0.0.1:9") == "http://127.0.0.1:9 doesn't answer (ConnectionError)"


@pytest.mark.parametrize("there", [False, True])
def test_without_the_network_the_run_is_kept(
    there: bool,
    useless: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whether nobody answers or the server refuses, the run starts soon and is all there."""
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    url = useless if there else "http://127.0.0.1:9"
    settings = {"base_url": url, "init_timeout": 2}
    start = time.monotonic()
    make = partial(WandbRun, str(tmp_path / "job"), offline=False, settings=settings)
    with caplog.at_level(logging.WARNING), opened([make]) as loggers:
        epochs(loggers[0], range(2))
    assert time.monotonic() - start < 30
    (line,) = [message for message in caplog.messages if message.startswith("W&B: ")]
    assert f"the run is kept offline: wandb sync {tmp_path}/job/wandb/offline-run-*" in line
    held = only(tmp_path / "job")
    assert held.curve("val/loss") == pytest.approx([1, 0.9]) and held.exit_code == 0


@pytest.mark.parametrize(
    ("asked", "offline", "expected"),
    [
        ("", True, "offline"), ("", False, "online"), ("online", True, "offline"),
        ("offline", False, "offline"), ("dryrun", False, "offline"), ("disabled", True, "disabled"),
    ],
)  # fmt: skip
def test_the_environment_can_hold_back_what_the_config_sends(
    asked: str, offline: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", asked)
    assert mode(offline) == expected


def test_a_disabled_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    run = record("unet", [0.1], [0.2])
    folder = write_run(tmp_path / "job", run)
    with opened([partial(WandbRun, str(folder))]) as loggers:
        epochs(loggers[0], range(2))
        guarded.log_run(loggers, run, folder)
        assert not loggers[0].warned
    assert not list((folder / "wandb").glob("*run*"))


def test_a_full_disk_does_not_end_the_run(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = small_disk / "job"
    with caplog.at_level(logging.WARNING), opened([partial(WandbRun, str(folder))]) as loggers:
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
def test_the_group_is_the_sweep(folder: str, sweep: str | None, name: str | None, group: str) -> None:
    assert group_of(Path(folder), sweep, name) == group
