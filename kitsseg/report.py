"""Table 1 and one self-contained page from any mixture of runs, sweeps and evaluations, at any time.

``python -m kitsseg.report --help``
"""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from kitsseg import cli, config


def run(cfg: DictConfig) -> None:
    """Write tables and page, and say what they are made of.

    Raises:
        ValueError: a folder doesn't exist or holds no run.
    """
    from kitsseg import runs
    from kitsseg.htmlreport import page

    given = list(cfg.runs) if OmegaConf.is_list(cfg.runs) else [cfg.runs]
    folders = [Path(folder).expanduser() for folder in given]
    jobs = runs.find(folders)
    output = folders[0] if len(folders) == 1 else Path("report")
    if cfg.output is not None:
        output = Path(cfg.output).expanduser()
    output.mkdir(parents=True, exist_ok=True)
    paths = page.publish(jobs, output)
    print(f"{sum(job.record is not None for job in jobs)} of {len(jobs)} runs have figures")
    for job in jobs:
        if job.reason:
            print(f"{job.state}: {job.folder} ({job.reason})")
    print(*paths, sep="\n")


@hydra.main(version_base="1.3", config_path=str(config.CONFIG_DIR), config_name="report")
def _job(cfg: DictConfig) -> None:
    try:
        run(cfg)
    except ValueError as error:
        sys.exit(f"kitsseg.report: {error}")


def main() -> None:
    """The command: refuse a wrong configuration, then hand over to Hydra."""
    cli.check_command_line("report", sys.argv[1:])
    _job()


if __name__ == "__main__":
    main()
