"""Errors of a logger become one warning, and every run ends with its state."""

import logging
import pickle
import time
from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities.exceptions import SIGTERMException

from kitsseg.config.components import instantiate
from kitsseg.tracking import safe_logger
from kitsseg.tracking.safe_logger import SafeLogger, log_run, open_loggers
from tests.helpers.records import record


class RecordingLogger:
    """A logger that records its calls."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.calls.append(("metrics", metrics, step))

    def save(self) -> None:
        self.calls.append("save")

    def log_run(self, run: Any, folder: Path) -> None:
        self.calls.append(("run", folder))

    def close(self, *how: Any) -> None:
        self.calls.append(how)


class Broken:
    """A logger whose methods all raise."""

    def __getattr__(self, name: str) -> Any:
        raise OSError(28, "No space left\non device")


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (ValueError("no\nsuch case"), (1, "ValueError: no such case", "failed")),
        (RuntimeError(), (1, "RuntimeError", "failed")),
        (KeyboardInterrupt(), (255, "KeyboardInterrupt", "interrupted")),
        (SystemExit(3), (3, "SystemExit: 3", "interrupted")),
        (SIGTERMException(), (255, "SIGTERMException", "interrupted")),
    ],
)
def test_a_failed_run_ends_with_its_reason(error: BaseException, ended: tuple[Any, ...]) -> None:
    recorder = RecordingLogger()
    with pytest.raises(type(error)), open_loggers([lambda: recorder]):
        raise error
    assert recorder.calls == [ended]


def test_a_complete_run_is_closed_once() -> None:
    recorder = RecordingLogger()
    with open_loggers([lambda: recorder]) as loggers:
        loggers[0].finalize("success")  # by Lightning, after each stage
        loggers[0].finalize("success")
    assert recorder.calls == ["save", "save", (0, "", "complete")]


def test_open_loggers_are_closed_if_another_cannot_be_created() -> None:
    recorder = RecordingLogger()
    node = {"_target_": "tests.tracking.test_safe_logger.refusing"}
    with (
        pytest.raises(ValueError, match="^root=x: not a folder$"),
        open_loggers([lambda: recorder, lambda: instantiate(node)]),
    ):
        pass
    assert recorder.calls == [(1, "ValueError: root=x: not a folder", "failed")]


def test_a_logger_that_cannot_start_is_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(safe_logger, "LIMIT_S", 0.2)
    recorder, slow = RecordingLogger(), Slow(CSVLogger("x"))
    created = [lambda: instantiate({"_target_": "builtins.open"}), lambda: slow, lambda: recorder]
    start = time.monotonic()
    with open_loggers(created) as loggers:
        for logger in loggers:
            logger.log_metrics({"a": 1.0}, 3)
    assert time.monotonic() - start < 5 and len(loggers) == 2
    assert caplog.messages[0].startswith("a logger could not be created and is disabled: TypeError: ")
    assert caplog.messages[1:] == [
        "Slow: did not start within 0.2 s; the run continues without this logger"
    ]
    assert ("metrics", {"a": 1.0}, 3) in recorder.calls


class Slow(RecordingLogger):
    """A logger whose server does not answer."""

    def __init__(self, logger: object) -> None:
        super().__init__()

    @property
    def experiment(self) -> None:
        time.sleep(60)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        raise AssertionError("called after it was left out")


def refusing() -> None:
    raise ValueError("root=x: not a folder")


def test_a_broken_logger_warns_once_and_the_others_continue(caplog: pytest.LogCaptureFixture) -> None:
    recorder = RecordingLogger()
    with caplog.at_level(logging.WARNING), open_loggers([Broken, lambda: recorder]) as loggers:
        for logger in loggers:
            logger.log_hyperparams({"a": 1}) if logger.logger is not recorder else None
            logger.log_metrics({"a": 1.0}, 3)
            logger.log_graph(None) if logger.logger is not recorder else None
            logger.save()
        log_run(loggers, record(), Path("x"))
        assert loggers[0].name is None and loggers[0].version is None and loggers[0].save_dir is None
    (line,) = caplog.messages
    assert line.startswith("Broken: OSError: [Errno 28] No space left on device; the run continues")
    assert recorder.calls[:2] == [("metrics", {"a": 1.0}, 3), "save"]
    assert recorder.calls[2][1]["final/val_tumor"] == pytest.approx(0.3)
    assert recorder.calls[3:] == [("run", Path("x")), (0, "", "complete")]


def test_a_third_party_logger_is_finalized(tmp_path: Path) -> None:
    with open_loggers([lambda: CSVLogger(tmp_path, name="", version="")]) as loggers:
        loggers[0].log_metrics({"a": 1.0}, 0)
        log_run(loggers, record(), tmp_path)
    text = (tmp_path / "metrics.csv").read_text()
    assert "final/val_tumor" in text and "1.0" in text


def test_other_attributes_are_forwarded(tmp_path: Path) -> None:
    logger = SafeLogger(CSVLogger(tmp_path, name="", version=""))
    assert Path(logger.log_dir) == Path(logger.root_dir) == tmp_path
    assert logger.experiment is logger.logger.experiment
    with pytest.raises(AttributeError):
        logger.nothing  # noqa: B018
    copy = pickle.loads(pickle.dumps(logger))
    assert Path(copy.save_dir) == tmp_path and not copy.warned
