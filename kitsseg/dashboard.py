"""A W&B workspace and report of a sweep: by model, before and after fine-tuning, case by case.

``python -m kitsseg.dashboard --help``
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig

from kitsseg.config.command_line import run_command
from kitsseg.config.validation import Command


@dataclass
class DashboardConfig:
    """The root of ``conf/dashboard.yaml``."""

    runs: str = MISSING
    project: str | None = None
    entity: str | None = None
    offline: bool = MISSING
    output: str | None = None


def check(values: dict[str, Any], built: dict[str, Any]) -> list[str]:
    """Return a line if the folder does not exist."""
    runs = values["runs"]
    return [] if Path(runs).expanduser().is_dir() else [f"runs={runs}: no such folder"]


COMMAND = Command("dashboard", DashboardConfig, check=check)


def run(cfg: DictConfig) -> None:
    """Say what the dashboard holds; save it unless it is to stay offline.

    Raises:
        ValueError: the folder holds no run that W&B knows, or W&B can't be reached.
    """
    from kitsseg.reporting import runs
    from kitsseg.system import files
    from kitsseg.tracking import dashboard_panels

    folder = Path(cfg.runs).expanduser()
    made = dashboard_panels.make(runs.find_jobs([folder]), folder, cfg.project, cfg.entity)
    print(dashboard_panels.outline(made))
    os.environ.setdefault("WANDB_SILENT", "true")
    from kitsseg.tracking import wandb_dashboard
    from kitsseg.tracking.wandb_start import unreachable

    if cfg.output is not None:
        text = wandb_dashboard.specification(wandb_dashboard.workspace(made))
        path = Path(cfg.output).expanduser()
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, text)
        print(path)
    if cfg.offline:
        print("nothing was sent: offline=false saves it")
        return
    import wandb

    if reason := unreachable(wandb.setup().settings.base_url):
        raise ValueError(f"offline=false: {reason}")
    print(*wandb_dashboard.save(made, folder), sep="\n")


def main() -> None:
    """The command."""
    run_command(COMMAND, run, "run the same command again")


if __name__ == "__main__":
    main()
