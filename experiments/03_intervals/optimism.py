"""Simulate how much too good the best epoch and the best recipe look, and what a correction leaves.

``python -m experiments.03_intervals.optimism`` prints the tables of this folder's README. An error is
the difference from the true mean of the chosen epoch on cases of the same mean difficulty, which no
choice affects.
"""

from importlib import import_module
from itertools import product

import numpy as np

from kitsseg.evaluation.optimism import Choice, Floats, optimism

table = import_module("experiments.03_intervals.simulate").table
ROUNDS, DRAWS = 500, 199  # repetitions per row, bootstrap samples
CASES, EPOCHS, RECIPES = (6, 12, 42), (10, 40), (1, 2, 4, 10)
RECIPE_EPOCHS = 20  # of each recipe in the second table


def walk(rng: np.random.Generator, cases: int, epochs: int, sd: float) -> Floats:
    """Return ``[cases, epochs]`` of noise whose correlation between successive epochs is 0.7."""
    steps = rng.normal(0, sd, (cases, epochs))
    for epoch in range(1, epochs):
        steps[:, epoch] = 0.7 * steps[:, epoch - 1] + np.sqrt(1 - 0.7**2) * steps[:, epoch]
    return steps


def curve(rng: np.random.Generator, kind: str, epochs: int) -> Floats:
    """Return the true mean Dice of each epoch: it rises to 0.75, rises and varies, or is constant."""
    rising = 0.75 - 0.35 * np.exp(-np.arange(epochs) * 5 / epochs)
    if kind == "constant":
        return np.full(epochs, 0.75)
    return rising + (rng.normal(0, 0.02, epochs) if kind == "varying" else 0)


def draw(rng: np.random.Generator, true: Floats, difficulty: Floats) -> tuple[Floats, Floats]:
    """Return Dice and loss ``[cases, epochs]``; the loss is 1 - 0.7 Dice and noise of its own."""
    shape = (len(difficulty), len(true))
    dice = true + difficulty[:, None] + walk(rng, *shape, sd=0.08)
    return dice, 1 - 0.7 * dice + walk(rng, *shape, sd=0.04)


def classical(values: Floats, loss: Floats, rng: np.random.Generator) -> float:
    """Return Efron's optimism: the best of a bootstrap sample, there minus in all cases."""
    cases = len(values)
    drawn = rng.multinomial(cases, np.full(cases, 1 / cases), size=DRAWS) / cases
    best = (drawn @ loss).argmin(axis=1)
    return float(np.mean((drawn @ values)[np.arange(DRAWS), best] - values.mean(axis=0)[best]))


def best_epoch(rng: np.random.Generator, kind: str, cases: int, epochs: int) -> list[float]:
    """Return the error of the best epoch's mean: raw, minus Efron's optimism, and minus kitsseg's."""
    true = curve(rng, kind, epochs)
    difficulty = rng.normal(0, 0.15, cases)
    dice, loss = draw(rng, true, difficulty)
    best = loss.mean(axis=0).argmin()
    raw = float(dice[:, best].mean() - true[best] - difficulty.mean())
    left_out = optimism([[Choice(dice, loss, "min")]], DRAWS)
    return [raw, raw - classical(dice, loss, rng), raw - left_out]


def best_recipe(rng: np.random.Generator, cases: int, recipes: int, spread: float) -> list[float]:
    """Return the error of the best recipe's mean: raw, corrected for one choice, for both.

    The true means of the recipes vary with the standard deviation ``spread``. Each is evaluated after
    the epoch that had the lowest loss on the same cases.
    """
    difficulty = rng.normal(0, 0.15, cases)
    choices, columns, truths = [], [], []
    for _ in range(recipes):
        true = curve(rng, "rising", RECIPE_EPOCHS) + rng.normal(0, spread)
        dice, loss = draw(rng, true, difficulty)
        best = loss.mean(axis=0).argmin()
        columns.append(dice[:, best])
        truths.append(true[best])
        choices.append([Choice(dice, loss, "min")])
    values = np.transpose(columns)
    row = values.mean(axis=0).argmax()
    raw = float(values[:, row].mean() - truths[row] - difficulty.mean())
    of_epoch = optimism([choices[row]], DRAWS)
    return [raw, raw - of_epoch, raw - optimism(choices, DRAWS)]


def line(errors: list[list[float]]) -> list[str]:
    """Return the bias of each estimate and, in parentheses, its root mean square error."""
    found = np.array(errors)
    pairs = zip(found.mean(axis=0), np.sqrt((found**2).mean(axis=0)), strict=True)
    return [f"{bias:+.3f} ({error:.3f})" for bias, error in pairs]


def main() -> None:
    """Print both tables."""
    rng = np.random.default_rng(0)
    body = []
    for kind, cases, epochs in product(("constant", "rising", "varying"), CASES, EPOCHS):
        errors = [best_epoch(rng, kind, cases, epochs) for _ in range(ROUNDS)]
        body.append([kind, str(cases), str(epochs), *line(errors)])
    head = ["true curve", "cases", "epochs", "raw", "Efron's optimism", "left-out cases (kitsseg)"]
    table(head, body)
    body = []
    for spread, cases, recipes in product((0.0, 0.02), CASES, RECIPES):
        errors = [best_recipe(rng, cases, recipes, spread) for _ in range(ROUNDS // 2)]
        body.append([f"{spread:g}", str(cases), str(recipes), *line(errors)])
    table(["sd between recipes", "cases", "recipes", "raw", "epoch corrected", "both corrected"], body)


if __name__ == "__main__":
    main()
