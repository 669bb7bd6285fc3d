"""How many cases and seeds are needed to find a difference between two models.

``python -m kitsseg.plan --help``
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig

from kitsseg.config.command_line import run_command
from kitsseg.config.validation import Command


@dataclass
class PlanConfig:
    """Schema of ``conf/plan.yaml``."""

    runs: str = MISSING
    gain: float = MISSING
    region: str | None = None
    power: float = 0.8
    cases: list[int] = MISSING
    seeds: list[int] = MISSING
    studies: int = 400
    output: str | None = None


def check_values(values: dict[str, Any], built: dict[str, Any]) -> list[str]:
    """Return a problem for each value that is out of range."""
    problems = []
    if not Path(values["runs"]).expanduser().exists():
        problems.append(f"runs={values['runs']}: no such folder or file")
    if not 0 < abs(values["gain"]) < 1:
        problems.append(f"gain={values['gain']}: must be between -1 and 1 and not 0, such as 0.03")
    if not 0 < values["power"] < 1:
        problems.append(f"power={values['power']}: must be between 0 and 1, such as 0.8")
    for name, least in (("cases", 4), ("seeds", 2)):
        if not values[name] or min(values[name]) < least:
            problems.append(f"{name}={values[name]}: must be numbers of at least {least}")
    if values["studies"] < 1:
        problems.append(f"studies={values['studies']}: must be at least 1")
    return problems


COMMAND = Command("plan", PlanConfig, check=check_values)


def run(cfg: DictConfig) -> None:
    """Simulate studies of all sizes; print and write the power of each."""
    import numpy as np
    from tqdm import tqdm

    from kitsseg.evaluation import power
    from kitsseg.reporting import formats, pilot
    from kitsseg.reporting.html import plan_page
    from kitsseg.system.files import write_text

    path = Path(cfg.runs).expanduser()
    found, region = pilot.read(path, cfg.region)
    effects = power.estimate(found.differences)
    all_cases, all_seeds = sorted(set(cfg.cases)), sorted(set(cfg.seeds))
    powers: dict[int, list[float]] = {seeds: [] for seeds in all_seeds}
    rng = np.random.default_rng(0)
    sizes = [(seeds, cases) for seeds in all_seeds for cases in all_cases]
    for seeds, cases in tqdm(sizes, desc="simulating studies", disable=None):
        powers[seeds].append(power.power(effects, cfg.gain, seeds, cases, cfg.studies, rng))

    head = ["cases", *(f"{seeds} seeds" for seeds in all_seeds)]
    body = [
        [str(cases), *(f"{powers[seeds][i]:.2f}" for seeds in all_seeds)]
        for i, cases in enumerate(all_cases)
    ]
    lines = plan_page.explain(found, region, effects, cfg.gain)
    lines += plan_page.answers(found, powers, all_cases, cfg.power)
    print("\n".join(lines), "", formats.markdown(head, body), "", sep="\n")
    output = Path(cfg.output).expanduser() if cfg.output else (path if path.is_dir() else path.parent)
    output.mkdir(parents=True, exist_ok=True)
    pages = {
        "plan.csv": formats.csv_text(head, body),
        "plan.html": plan_page.render(lines, head, body, powers, all_cases, cfg.power),
    }
    for name, text in pages.items():
        write_text(output / name, text)
        print(output / name)


if __name__ == "__main__":
    run_command(COMMAND, run, "run the same command again")
