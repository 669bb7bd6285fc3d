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


def error_line(error: BaseException) -> str:
    """Return the message of an error in one line of at most 200 characters; its type if it is empty."""
    return " ".join(str(error).split())[:200] or type(error).__name__


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
