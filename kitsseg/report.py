"""Write Table 1 and the HTML report of any runs, sweeps and evaluations.

``python -m kitsseg.report --help``
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig

from kitsseg.config.command_line import run_command
from kitsseg.config.validation import Command


@dataclass
class ReportConfig:
    """The root of ``conf/report.yaml``."""

    runs: Any = MISSING
    output: str | None = None
    margin: float = 0.02


def check_folders(values: dict[str, Any], built: dict[str, Any]) -> list[str]:
    """Return a line for each folder of ``runs`` that does not exist."""
    folders = values["runs"] if isinstance(values["runs"], list) else [values["runs"]]
    if not folders or not all(isinstance(folder, str) for folder in folders):
        return [f"runs={values['runs']}: must be a folder or a list of folders"]
    if not values["margin"] > 0:
        return [f"margin={values['margin']}: must be above 0; a difference in Dice, such as 0.02"]
    return [f"runs={f}: no such folder" for f in folders if not Path(f).expanduser().is_dir()]


COMMAND = Command("report", ReportConfig, check=check_folders)


def run(cfg: DictConfig) -> None:
    """Write the tables and the page, and print which runs they contain."""
    from kitsseg.reporting import runs
    from kitsseg.reporting.html import page

    folders = [Path(f).expanduser() for f in ([cfg.runs] if isinstance(cfg.runs, str) else cfg.runs)]
    jobs = runs.find_jobs(folders)
    default = folders[0] if len(folders) == 1 else Path("report")
    output = default if cfg.output is None else Path(cfg.output).expanduser()
    output.mkdir(parents=True, exist_ok=True)
    paths = page.publish(jobs, output, cfg.margin)
    print(f"{sum(job.record is not None for job in jobs)} of {len(jobs)} runs have results")
    for job in jobs:
        if job.reason:
            print(f"{job.state}: {job.folder} ({job.reason})")
    print(*paths, sep="\n")


if __name__ == "__main__":
    run_command(COMMAND, run, "run the same command again")
