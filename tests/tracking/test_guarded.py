"""What goes wrong in a logger is one line; every run ends with its state."""

import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
from hydra.errors import InstantiationException
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities.exceptions import SIGTERMException

from kitsseg.config.components import instantiate
from kitsseg.tracking.guarded import Guarded, log_run, opened
from tests.helpers.records import record


class Told:
    """A logger that writes down what it is told."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None) -> None:
        self.calls.append(("metrics", metrics, step))

    def save(self) -> None:
        self.calls.append("save")

    def log_run(self, run: Any, folder: Path) -> None:
        self.calls.append(("run", folder))

    def close(self, *how: Any) -> None:
        self.calls.append(how)


class Broken:
    """A logger whose every method fails."""

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
def test_a_run_ends_with_what_became_of_it(error: BaseException, ended: tuple[Any, ...]) -> None:
    told = Told()
    with pytest.raises(type(error)), opened([lambda: told]):
        raise error
    assert told.calls == [ended]


def test_a_run_that_came_to_its_end() -> None:
    told = Told()
    with opened([lambda: told]) as loggers:
        loggers[0].finalize("success")  # Lightning's, after each of two stages
        loggers[0].finalize("success")
    assert told.calls == ["save", "save", (0, "", "complete")]


def test_loggers_that_are_open_are_closed_if_another_cannot_be_made() -> None:
    told = Told()
    node = {"_target_": "tests.tracking.test_guarded.refusing"}
    with (
        pytest.raises(ValueError, match="^root=x is no folder$"),
        opened([lambda: told, lambda: instantiate(node)]),
    ):
        pass
    assert told.calls == [(1, "ValueError: root=x is no folder", "failed")]
    with (
        pytest.raises(InstantiationException),
        opened([lambda: instantiate({"_target_": "builtins.open"})]),
    ):
        pass


def refusing() -> None:
    raise ValueError("root=x is no folder")


def test_a_broken_logger_is_one_line_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    told = Told()
    with caplog.at_level(logging.WARNING), opened([Broken, lambda: told]) as loggers:
        for logger in loggers:
            logger.log_hyperparams({"a": 1}) if logger.logger is not told else None
            logger.log_metrics({"a": 1.0}, 3)
            logger.log_graph(None) if logger.logger is not told else None
            logger.save()
        log_run(loggers, record(), Path("x"))
        assert loggers[0].name is None and loggers[0].version is None and loggers[0].save_dir is None
    (line,) = caplog.messages
    assert line.startswith("Broken: OSError: [Errno 28] No space left on device; the run goes on")
    assert told.calls[:2] == [("metrics", {"a": 1.0}, 3), "save"]
    assert told.calls[2][1]["final/val_tumor"] == pytest.approx(0.3)
    assert told.calls[3:] == [("run", Path("x")), (0, "", "complete")]


def test_a_logger_of_somebody_else_is_finalized(tmp_path: Path) -> None:
    with opened([lambda: CSVLogger(tmp_path, name="", version="")]) as loggers:
        loggers[0].log_metrics({"a": 1.0}, 0)
        log_run(loggers, record(), tmp_path)
    text = (tmp_path / "metrics.csv").read_text()
    assert "final/val_tumor" in text and "1.0" in text


def test_what_else_a_callback_wants_of_a_logger(tmp_path: Path) -> None:
    logger = Guarded(CSVLogger(tmp_path, name="", version=""))
    assert Path(logger.log_dir) == Path(logger.root_dir) == tmp_path
    assert logger.experiment is logger.logger.experiment
    with pytest.raises(AttributeError):
        logger.nothing  # noqa: B018
    copy = pickle.loads(pickle.dumps(logger))
    assert Path(copy.save_dir) == tmp_path and not copy.warned
