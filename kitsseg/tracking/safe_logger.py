"""Wrap loggers so that an error in one of them never ends a run."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger

from kitsseg.reporting.run_record import Record
from kitsseg.system.package_messages import describe_error
from kitsseg.tracking import run_content

LIMIT_S = 10.0  # longest time that a logger may take to start, or a call that fails

log = logging.getLogger("kitsseg")


@contextmanager
def open_loggers(factories: Iterable[Callable[[], Logger]]) -> Iterator[list["SafeLogger"]]:
    """Create loggers, and close each with the final state of the run."""
    loggers: list[SafeLogger] = []
    ended = (0, "", "complete")
    try:
        for create in factories:
            try:
                loggers.append(SafeLogger(create()))
                loggers[-1].start()
            except Exception as error:
                if isinstance(error.__cause__, ValueError):  # of the configured values, wrapped by Hydra
                    raise error.__cause__ from None
                cause = error if error.__cause__ is None else error.__cause__
                log.warning(f"a logger could not be created and is disabled: {describe_error(cause)}")
        yield loggers
    except BaseException as error:
        ended = (1, describe_error(error, limit=None), "failed")
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            code = getattr(error, "code", None)
            ended = (code if isinstance(code, int) and code > 0 else 255, ended[1], "interrupted")
        raise
    finally:
        for logger in loggers:
            logger.close(*ended)


def log_run(loggers: list["SafeLogger"], record: Record, folder: Path) -> None:
    """Log the results of a finished run, and tables, slices and files where a logger supports them."""
    for logger in loggers:
        logger.log_metrics(run_content.summary_metrics(record))
        if hasattr(type(logger.logger), "log_run"):
            logger.log_run(record, folder)


def _attribute(name: str) -> Any:
    """Return a property that reads an attribute of the wrapped logger."""
    return property(lambda self: self._attempt(lambda: getattr(self.logger, name)))


def _method(name: str) -> Any:
    """Return a method that calls the wrapped logger's method of the same name."""
    return lambda self, *args, **options: self._attempt(
        lambda: getattr(self.logger, name)(*args, **options)
    )


class SafeLogger(Logger):
    """Forward to another logger, report its first error as a warning and ignore the others.

    The optional methods ``log_run(record, folder)`` and ``close(exit_code, reason, state)`` of the
    wrapped logger are called if they exist. Lightning finalizes its loggers after each of up to two
    fits, so `finalize` only saves and `close` ends the run.
    """

    experiment = _attribute("experiment")
    name = _attribute("name")
    version = _attribute("version")
    save_dir = _attribute("save_dir")
    root_dir = _attribute("root_dir")
    log_dir = _attribute("log_dir")
    log_metrics = _method("log_metrics")
    log_hyperparams = _method("log_hyperparams")
    log_graph = _method("log_graph")
    log_run = _method("log_run")
    save = _method("save")
    after_save_checkpoint = _method("after_save_checkpoint")

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self.logger: Any = logger
        self.warned = self.left_out = False

    def start(self) -> None:
        """Start the run of the tracker; leave the logger out if that takes longer than `LIMIT_S`."""
        if not hasattr(type(self.logger), "experiment"):
            return
        if getattr(self.logger, "limits_its_start", False):
            self._attempt(lambda: self.logger.experiment)
            return
        thread = threading.Thread(target=lambda: self.experiment, daemon=True)
        thread.start()
        thread.join(LIMIT_S)
        if thread.is_alive():
            self._leave_out(f"did not start within {LIMIT_S:g} s")

    def finalize(self, status: str) -> None:
        """Save, without ending the run."""
        self.save()

    def close(self, exit_code: int, reason: str, state: str) -> None:
        """End the run, which is ``complete``, ``failed`` or ``interrupted``; ``reason`` is its error."""
        if hasattr(type(self.logger), "close"):
            self._attempt(lambda: self.logger.close(exit_code, reason, state))
        else:
            self._attempt(lambda: self.logger.finalize("failed" if exit_code else "success"))

    def __getattr__(self, name: str) -> Any:
        # Callbacks use further attributes such as `experiment`. Unpickling asks before `logger` is set.
        if name == "logger" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.logger, name)

    def _attempt(self, action: Callable[[], Any]) -> Any:
        """Return the result of the action; None if it raises or the logger is left out."""
        if self.left_out:
            return None
        start = time.monotonic()
        try:
            return action()
        except Exception as error:  # trackers raise errors of any class
            if not self.warned and not self.left_out:
                result = "the run continues, but this logger may be incomplete"
                log.warning(f"{type(self.logger).__name__}: {describe_error(error)}; {result}")
            self.warned = True
            if time.monotonic() - start > LIMIT_S:  # it would hold up every epoch
                self._leave_out(f"a call failed after more than {LIMIT_S:g} s")
            return None

    def _leave_out(self, reason: str) -> None:
        if not self.left_out:
            log.warning(f"{type(self.logger).__name__}: {reason}; the run continues without this logger")
        self.left_out = True
