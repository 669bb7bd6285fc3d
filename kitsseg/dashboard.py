"""Create a W&B workspace and report of a sweep: ``python -m kitsseg.dashboard --help``."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig

from kitsseg.config.command_line import run_command
from kitsseg.config.validation import Command


@dataclass
class DashboardConfig:
    """Schema of ``conf/dashboard.yaml``."""

    runs: str = MISSING
    project: str | None = None
    entity: str | None = None
    offline: bool = MISSING
    output: str | None = None


def check(values: dict[str, Any], built: dict[str, Any]) -> list[str]:
    """Return a problem if the folder does not exist."""
    runs = values["runs"]
    return [] if Path(runs).expanduser().is_dir() else [f"runs={runs}: no such folder"]


COMMAND = Command("dashboard", DashboardConfig, check=check)


def run(cfg: DictConfig) -> None:
    """Print the layout of the dashboard, and save it to W&B with ``offline=false``."""
    from kitsseg.reporting import runs
    from kitsseg.system import files
    from kitsseg.tracking import dashboard_layout

    folder = Path(cfg.runs).expanduser()
    layout = dashboard_layout.make_layout(runs.find_jobs([folder]), folder, cfg.project, cfg.entity)
    print(dashboard_layout.describe(layout))
    if layout.server is not None:  # before wandb is imported, which reads it
        os.environ["WANDB_BASE_URL"] = layout.server
    if cfg.output is not None or not cfg.offline:
        os.environ.setdefault("WANDB_SILENT", "true")
        from kitsseg.tracking import wandb_dashboard
    if cfg.output is not None:
        path = Path(cfg.output).expanduser()
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, wandb_dashboard.to_json(wandb_dashboard.make_workspace(layout)))
        print(path)
    if cfg.offline:
        print("not saved to W&B; set offline=false to save")
        return
    from kitsseg.tracking.wandb_run import NO_API_KEY, has_api_key

    if not has_api_key():
        raise ValueError(f"offline=false: {NO_API_KEY}")
    print(*wandb_dashboard.save(layout, folder), sep="\n")


if __name__ == "__main__":
    run_command(COMMAND, run, "run the same command again")
