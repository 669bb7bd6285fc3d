"""Simulate whether the claims of `kitsseg.plan` are true.

``python -m experiments.03_intervals.power [PILOT ...]`` prints the table of this folder's README. Each
PILOT is a folder of runs or a CSV file, as of `kitsseg.plan`, whose cases become a population as well.
"""

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np

from kitsseg.evaluation import power
from kitsseg.evaluation.random_effects import Floats, mean_squares
from kitsseg.reporting import pilot

simulate = import_module("experiments.03_intervals.simulate")
verdicts = import_module("experiments.03_intervals.verdicts")
SEEDS, CASES, AIM = 3, (12, 24, 42, 84), 0.8  # of the planned studies
PILOTS = ((2, 8), (3, 12), (3, 42), (100, 400))  # seeds and cases
REPETITIONS, STUDIES, TRUE_STUDIES = 20, 100, 1000  # pilots, studies per plan and for the true power
Shape = tuple[int, int, int]  # studies, seeds, cases
Draw = Callable[[np.random.Generator, Shape], Floats]  # differences with mean 0


def uneven(rng: np.random.Generator, shape: Shape) -> Floats:
    """Return differences that vary between seeds in hard cases, and hardly in easy ones."""
    studies, seeds, cases = shape
    difficulty = rng.exponential(1, (studies, 1, cases))
    rest = 0.07 * difficulty * rng.normal(size=shape)
    drawn: Floats = 0.05 * (difficulty - 1) + rng.normal(0, 0.01, (studies, seeds, 1)) + rest
    return drawn


def resampled(table: Floats, rng: np.random.Generator, shape: Shape) -> Floats:
    """Return cases of a real ``[seeds, cases]``, each with its own variation between seeds."""
    seed_sd = np.sqrt(mean_squares(table).variances[1])
    by_case = table.mean(axis=0) - table.mean()
    rest = table - table.mean(axis=1, keepdims=True) - by_case
    rest *= np.sqrt(len(table) / (len(table) - 1))
    studies, seeds, cases = shape
    case = rng.integers(table.shape[1], size=(studies, 1, cases))
    row = rng.integers(len(table), size=shape)
    drawn: Floats = by_case[case] + rest[row, case] + rng.normal(0, seed_sd, (studies, seeds, 1))
    return drawn


def populations(paths: list[Path]) -> dict[str, Draw]:
    """Return the drawn populations and those of the pilots."""
    found: dict[str, Draw] = {
        "normal": lambda rng, shape: verdicts.differences(rng, "normal", shape, 0.01),
        "rare": lambda rng, shape: verdicts.differences(rng, "rare", shape, 0.01),
        "uneven": uneven,
    }
    for path in paths:
        for region in ("kidney", "tumour") if path.is_dir() else (None,):
            real, name = pilot.read(path, region)
            complete = real.differences[:, ~np.isnan(real.differences).any(axis=0)]
            found[f"{' and '.join(real.models)}, {name}"] = partial(resampled, complete)
    return found


def suitable_gain(draw: Draw, rng: np.random.Generator) -> float:
    """Return four standard errors of a study of 42 cases."""
    return 4 * float(draw(rng, (1000, SEEDS, 42)).mean(axis=(1, 2)).std())


def true_power(draw: Draw, gain: float, cases: int, rng: np.random.Generator) -> float:
    """Return the share of studies of the population that find the gain."""
    drawn = gain + draw(rng, (TRUE_STUDIES, SEEDS, cases))
    return power.count_found(drawn, True) / TRUE_STUDIES


def main(paths: list[Path]) -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    body = []
    for name, draw in populations(paths).items():
        gain = suitable_gain(draw, rng)
        true = {cases: true_power(draw, gain, cases, rng) for cases in CASES}
        for seeds, cases in PILOTS:
            claims = []
            for _ in range(REPETITIONS):
                effects = power.estimate(draw(rng, (1, seeds, cases))[0])
                claims.append([power.power(effects, gain, SEEDS, n, STUDIES, rng) for n in CASES])
            at_42 = np.array(claims)[:, CASES.index(42)]
            planned = [power.smallest(claim, CASES, AIM) for claim in claims]
            reached = [true[n] for n in planned if n is not None]
            then = f"{np.mean(reached):.2f} ± {np.std(reached):.2f}" if reached else "–"
            body.append(
                [name, f"{gain:.3f}", f"{seeds} x {cases}", f"{true[42]:.2f}"]
                + [f"{at_42.mean():.2f} ± {at_42.std():.2f}", f"{len(reached)}", then]
            )
    head = ["population", "gain", "pilot: seeds x cases", "true power at 42 cases", "claimed"]
    simulate.table([*head, f"plans of {REPETITIONS} with at most {CASES[-1]} cases", "true power"], body)


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
