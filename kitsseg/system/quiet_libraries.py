"""What other packages say without being asked, left out."""

import logging
import os
import warnings


def quieten() -> None:
    """Leave out what Lightning and wandb say on every start and what doesn't apply to us."""
    import pytorch_lightning  # noqa: F401 (which makes its loggers talk)

    os.environ.setdefault("WANDB_SILENT", "true")
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for text in (
        ".*does not have many workers.*",
        ".*is smaller than the logging interval.*",
        ".*could not find the monitored key.*",  # before the first validation
        ".*exists and is not empty.*",
        ".*LeafSpec.*",
        ".*It is recommended to use .self.log.*",  # validation figures are gathered by the task
        ".*srun. command is available.*",
        ".*in eval mode at the start of training.*",  # the frozen layers of stage two
        ".*Grad strides do not match bucket view.*",  # of one input channel, which lies alike either way
        ".*AccumulateGrad node's stream.*",  # Lightning's own: its pull request 21746
    ):
        warnings.filterwarnings("ignore", text)
