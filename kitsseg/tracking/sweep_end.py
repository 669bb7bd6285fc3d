"""Log Table 1 and the report to the trackers of a sweep's jobs when the sweep ends."""

import logging
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from kitsseg.reporting.runs import Job
from kitsseg.system.package_messages import describe_error
from kitsseg.tracking import tracking_file

log = logging.getLogger("kitsseg")


def log_sweep(jobs: Sequence[Job], folder: Path, files: list[Path]) -> None:
    """Log the tables and the report, ``files``, of the sweep in ``folder``; nothing for a single run."""
    job_folders = [job.folder for job in jobs if job.folder.resolve() != folder.resolve()]
    for tracker in ("wandb", "tensorboard", "mlflow"):
        stored = [values for path in job_folders if (values := tracking_file.read(path, tracker))]
        if stored:
            try:
                module = import_module(f"kitsseg.tracking.{tracker}_run")
                module.log_sweep(folder, stored[-1], files)  # to the server and project of the last job
            except Exception as error:  # trackers raise errors of any class
                log.warning(f"{tracker}: {describe_error(error)}; Table 1 was not logged")
