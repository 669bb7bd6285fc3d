"""Write Table 1 and the HTML report of any runs, sweeps and evaluations.

``python -m kitsseg.report --help``
"""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from kitsseg.config import command_line


def run(cfg: DictConfig) -> None:
    """Write the tables and the page, and print which runs they contain.

    Raises:
        ValueError: a folder does not exist or contains no run.
    """
    from kitsseg.reporting import runs
    from kitsseg.reporting.html import page

    names = list(cfg.runs) if OmegaConf.is_list(cfg.runs) else [cfg.runs]
    folders = [Path(name).expanduser() for name in names]
    jobs = runs.find_jobs(folders)
    output = folders[0] if len(folders) == 1 else Path("report")
    if cfg.output is not None:
        output = Path(cfg.output).expanduser()
    output.mkdir(parents=True, exist_ok=True)
    paths = page.publish(jobs, output)
    print(f"{sum(job.record is not None for job in jobs)} of {len(jobs)} runs have results")
    for job in jobs:
        if job.reason:
            print(f"{job.state}: {job.folder} ({job.reason})")
    print(*paths, sep="\n")


def main() -> None:
    """Run the command."""
    command_line.hand_over("report", run, "the same command begins anew")


if __name__ == "__main__":
    main()
