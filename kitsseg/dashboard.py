"""A W&B workspace and report of a sweep: by model, before and after fine-tuning, case by case.

``python -m kitsseg.dashboard --help``
"""

import os
from pathlib import Path

from omegaconf import DictConfig

from kitsseg.config import command_line


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
    command_line.hand_over("dashboard", run, "the same command begins anew")


if __name__ == "__main__":
    main()
