"""Messages of other packages: errors in one line, and those that do not apply to kitsseg."""

import logging
import os
import warnings

IRRELEVANT = (
    ".*does not have many workers.*",  # data.workers follows the number of processors
    ".*is smaller than the logging interval.*",
    ".*could not find the monitored key.*",  # before the first validation
    ".*exists and is not empty.*",  # a resumed job writes into its folder again
    ".*LeafSpec.*",
    ".*It is recommended to use .self.log.*",  # the task gathers validation metrics itself
    ".*srun. command is available.*",
    ".*in eval mode at the start of training.*",  # the frozen layers of stage two
    ".*Grad strides do not match bucket view.*",
    ".*AccumulateGrad node's stream.*",  # fixed by Lightning's pull request 21746
)


OMEGACONF = ("full_key:", "object_type=", "reference_type=")  # starts of lines with details


def error_line(error: BaseException, limit: int | None = 200) -> str:
    """Return the message of an error in one line, without omegaconf's details; its type if it is empty.

    ``limit`` is the number of characters; None: no limit.
    """
    lines = [line for line in str(error).splitlines() if not line.strip().startswith(OMEGACONF)]
    return " ".join(" ".join(lines).split())[:limit] or type(error).__name__


def describe_error(error: BaseException, limit: int | None = 300) -> str:
    """Return the class of an error, and its `error_line` if it has a message."""
    name, text = type(error).__name__, error_line(error, limit)
    return text if text == name else f"{name}: {text}"


def silence() -> None:
    """Hide what Lightning and wandb print at every start."""
    import pytorch_lightning  # noqa: F401 (importing it sets the level of its loggers)

    os.environ.setdefault("WANDB_SILENT", "true")
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("profilers.profiler", "callbacks.model_summary"):  # the user asked for these
        logging.getLogger(f"pytorch_lightning.{name}").setLevel(logging.INFO)
    for text in IRRELEVANT:
        warnings.filterwarnings("ignore", text)
