"""What happens when a job or a sweep ends: its status, the tables and the page, the exit code."""

import logging
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from kitsseg import results, runs
from kitsseg.files import write_json

log = logging.getLogger("kitsseg")


def guard(job: Callable[[], None]) -> None:
    """Run a job, keep ``status.json`` in its folder, and let a sweep go on when it fails.

    A failure is shown at once: one line for what a user can mend (ValueError), a traceback else.
    """
    context = HydraConfig.get()
    folder = Path(context.runtime.output_dir)
    started = time.time()

    def status(state: str, **more: str) -> None:
        values = {"status": state, "started": started, "changed": time.time(), **more}
        write_json(folder / results.STATUS, values)

    status("running")
    try:
        job()
    except Exception as error:
        reason = str(error) or type(error).__name__
        status("failed", error=reason, traceback=traceback.format_exc())
        if isinstance(error, ValueError):
            print(f"kitsseg.train: {error}", file=sys.stderr)
        else:
            traceback.print_exc()
        if context.mode != RunMode.MULTIRUN:
            sys.exit(1)
    except BaseException:
        status("interrupted")
        raise
    else:
        status("complete")


class WriteTable(Callback):
    """Tables and page from the records in the folder of the run or sweep that has just ended."""

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        finish(Path(config.hydra.run.dir))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        finish(Path(config.hydra.sweep.dir))


def finish(folder: Path) -> None:
    """Write the tables and the page, print Table 1; exit with 1 if a job below ``folder`` failed."""
    from kitsseg.htmlreport import page
    from kitsseg.tracking.sweep_end import log_sweep

    jobs = runs.below(folder)
    records = any(job.record is not None for job in jobs)
    if records or len(jobs) > 1:
        paths = page.publish(jobs, folder)
        table = f"\n{paths[0].read_text(encoding='utf-8')}" if records else ""
        print(table + "\n" + "\n".join(str(path) for path in paths))
        log_sweep(jobs, folder, paths)
    failed = [job for job in jobs if job.state == "failed"]
    for job in failed:
        print(f"kitsseg.train: failed: {job.folder} (its {results.STATUS} says why)", file=sys.stderr)
    if failed:
        sys.exit(1)
