"""Loggers that can't end a run: what goes wrong in one is a line, and the run goes on."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger

from kitsseg.reporting.run_record import Record
from kitsseg.tracking import logged_content

log = logging.getLogger("kitsseg")


@contextmanager
def opened(makers: Iterable[Callable[[], Logger]]) -> Iterator[list["Guarded"]]:
    """The loggers that ``makers`` make; closed at the end with what became of the run.

    Raises:
        ValueError: one can't be made from what a user gave.
    """
    loggers: list[Guarded] = []
    try:
        for make in makers:
            loggers.append(Guarded(_made(make)))
        yield loggers
    except BaseException as error:
        # As a shell has it: an interrupted run ends with a code of its own, a failed one with 1.
        stopped = isinstance(error, (KeyboardInterrupt, SystemExit))
        code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 0
        text = " ".join(str(error).split())
        reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
        if stopped:
            close(loggers, code if code > 0 else 255, reason, "interrupted")
        else:
            close(loggers, 1, reason, "failed")
        raise
    else:
        close(loggers, 0, "", "complete")


def close(loggers: list["Guarded"], exit_code: int, reason: str, state: str) -> None:
    """End all runs, each with its state."""
    for logger in loggers:
        logger.close(exit_code, reason, state)


def log_run(loggers: list["Guarded"], record: Record, folder: Path) -> None:
    """Hand a finished run's figures to every logger, as far as it can show them."""
    for logger in loggers:
        logger.log_metrics(logged_content.numbers(record))
        logger.log_run(record, folder)


class Guarded(Logger):
    """Another logger, of which only the first failure is told.

    Lightning finalizes loggers after every fit; a run of two stages ends once, by `close`.

    Args:
        logger: the other one. Of its methods ``log_run(record, folder)`` and ``close(exit_code,
            reason, state)`` are used if it has them.
    """

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self.logger: Any = logger
        self.warned = False

    @property
    def name(self) -> str | None:
        return self._try(lambda: self.logger.name)

    @property
    def version(self) -> int | str | None:
        return self._try(lambda: self.logger.version)

    @property
    def save_dir(self) -> str | None:
        return self._try(lambda: self.logger.save_dir)

    @property
    def root_dir(self) -> str | None:
        return self._try(lambda: self.logger.root_dir)

    @property
    def log_dir(self) -> str | None:
        return self._try(lambda: self.logger.log_dir)

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self._try(lambda: self.logger.log_metrics(metrics, step))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self._try(lambda: self.logger.log_hyperparams(params, *args, **kwargs))

    def log_graph(self, *args: Any, **kwargs: Any) -> None:
        self._try(lambda: self.logger.log_graph(*args, **kwargs))

    def save(self) -> None:
        self._try(lambda: self.logger.save())

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        self._try(lambda: self.logger.after_save_checkpoint(checkpoint_callback))

    def finalize(self, status: str) -> None:
        self.save()

    def log_run(self, record: Record, folder: Path) -> None:
        """Cases, pictures and whatever else the logger can show."""
        if hasattr(type(self.logger), "log_run"):
            self._try(lambda: self.logger.log_run(record, folder))

    def close(self, exit_code: int, reason: str, state: str) -> None:
        """End the run: ``complete``, ``failed`` or ``interrupted``."""
        if hasattr(type(self.logger), "close"):
            self._try(lambda: self.logger.close(exit_code, reason, state))
        else:
            self._try(lambda: self.logger.finalize("failed" if exit_code else "success"))

    def __getattr__(self, name: str) -> Any:
        # Whatever else callbacks want of it, such as `experiment`. Not while it is being unpickled.
        if name == "logger" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.logger, name)

    def _try(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except Exception as error:  # a tracker's, of whatever kind
            if not self.warned:
                text = " ".join(str(error).split())
                log.warning(
                    f"{type(self.logger).__name__}: {type(error).__name__}: {text[:300]}; "
                    "the run goes on, what this logger shows may be incomplete"
                )
            self.warned = True
            return None


def _made(make: Callable[[], Logger]) -> Logger:
    """The logger; what its class says against a user's values without Hydra's words round it."""
    try:
        return make()
    except Exception as error:
        cause = error.__cause__
        if isinstance(cause, ValueError):
            raise cause from None
        raise
