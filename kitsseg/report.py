"""Table 1 and one self-contained page from any mixture of runs, sweeps and evaluations, at any time.

``python -m kitsseg.report --help``
"""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from kitsseg.config import command_line


def run(cfg: DictConfig) -> None:
    """Write tables and page, and say what they are made of.

    Raises:
        ValueError: a folder doesn't exist or holds no run.
    """
    from kitsseg.reporting import runs
    from kitsseg.reporting.html import page

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


def main() -> None:
    """The command."""
    command_line.hand_over("report", run, "the same command begins anew")


if __name__ == "__main__":
    main()
