"""Wrap loggers so that an error in one of them never ends a run."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pytorch_lightning.loggers import Logger

from kitsseg.reporting.run_record import Record
from kitsseg.tracking import run_content

log = logging.getLogger("kitsseg")

T = TypeVar("T")


@contextmanager
def open_loggers(factories: Iterable[Callable[[], Logger]]) -> Iterator[list["SafeLogger"]]:
    """Create loggers, and close each with the final state of the run.

    Args:
        factories: functions that create one logger each.

    Raises:
        ValueError: a logger cannot be created with the configured values.
    """
    loggers: list[SafeLogger] = []
    try:
        for create in factories:
            loggers.append(SafeLogger(_create(create)))
        yield loggers
    except BaseException as error:
        text = " ".join(str(error).split())
        reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            code = error.code if isinstance(error, SystemExit) else None
            exit_code = code if isinstance(code, int) and code > 0 else 255
            _close(loggers, exit_code, reason, "interrupted")
        else:
            _close(loggers, 1, reason, "failed")
        raise
    else:
        _close(loggers, 0, "", "complete")


def log_run(loggers: list["SafeLogger"], record: Record, folder: Path) -> None:
    """Log the results of a finished run.

    Args:
        loggers: all loggers of the run.
        record: results of the run.
        folder: folder of the run.
    """
    for logger in loggers:
        logger.log_metrics(run_content.summary_metrics(record))
        logger.log_run(record, folder)


class SafeLogger(Logger):
    """Forward to another logger, report its first error as a warning and ignore the others.

    Lightning finalizes its loggers after every fit. A run has up to two fits, so `finalize` only saves
    and `close` ends the run.

    Args:
        logger: the wrapped logger. Its optional methods ``log_run(record, folder)`` and
            ``close(exit_code, reason, state)`` are called if they exist.
    """

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self.logger: Any = logger
        self.warned = False

    @property
    def name(self) -> str | None:
        return self._attempt(lambda: self.logger.name)

    @property
    def version(self) -> int | str | None:
        return self._attempt(lambda: self.logger.version)

    @property
    def save_dir(self) -> str | None:
        return self._attempt(lambda: self.logger.save_dir)

    @property
    def root_dir(self) -> str | None:
        return self._attempt(lambda: self.logger.root_dir)

    @property
    def log_dir(self) -> str | None:
        return self._attempt(lambda: self.logger.log_dir)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self._attempt(lambda: self.logger.log_metrics(metrics, step))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self._attempt(lambda: self.logger.log_hyperparams(params, *args, **kwargs))

    def log_graph(self, *args: Any, **kwargs: Any) -> None:
        self._attempt(lambda: self.logger.log_graph(*args, **kwargs))

    def save(self) -> None:
        self._attempt(lambda: self.logger.save())

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        self._attempt(lambda: self.logger.after_save_checkpoint(checkpoint_callback))

    def finalize(self, status: str) -> None:
        """Save, without ending the run."""
        self.save()

    def log_run(self, record: Record, folder: Path) -> None:
        """Log tables, slices and files of a finished run, if the logger supports them."""
        if hasattr(type(self.logger), "log_run"):
            self._attempt(lambda: self.logger.log_run(record, folder))

    def close(self, exit_code: int, reason: str, state: str) -> None:
        """End the run.

        Args:
            exit_code: exit code of the run.
            reason: error in one line; empty if there is none.
            state: ``complete``, ``failed`` or ``interrupted``.
        """
        if hasattr(type(self.logger), "close"):
            self._attempt(lambda: self.logger.close(exit_code, reason, state))
        else:
            self._attempt(lambda: self.logger.finalize("failed" if exit_code else "success"))

    def __getattr__(self, name: str) -> Any:
        # Callbacks use further attributes such as `experiment`. Unpickling asks before `logger` is set.
        if name == "logger" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.logger, name)

    def _attempt(self, action: Callable[[], T]) -> T | None:
        try:
            return action()
        except Exception as error:  # trackers raise errors of any class
            if not self.warned:
                text = " ".join(str(error).split())
                log.warning(
                    f"{type(self.logger).__name__}: {type(error).__name__}: {text[:300]}; "
                    "the run continues, but this logger may be incomplete"
                )
            self.warned = True
            return None


def _close(loggers: list[SafeLogger], exit_code: int, reason: str, state: str) -> None:
    for logger in loggers:
        logger.close(exit_code, reason, state)


def _create(create: Callable[[], Logger]) -> Logger:
    """Return the logger; raise the ValueError of its class without Hydra's wrapper."""
    try:
        return create()
    except Exception as error:
        cause = error.__cause__
        if isinstance(cause, ValueError):
            raise cause from None
        raise
