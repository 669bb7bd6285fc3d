"""Scripts of experiments run, if not for as long as they did."""

import importlib

import numpy as np
import pytest


def test_intervals_are_simulated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = importlib.import_module("experiments.03_intervals.simulate")
    monkeypatch.setattr(script, "ROUNDS", 2)
    monkeypatch.setattr(script, "DRAWS", 19)
    script.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == sum(2 + rows + 1 for rows in (9, 18, 12))
    assert all(cell.strip() in ("0.000", "0.500", "1.000") for cell in lines[2].split("|")[3:-1])


def test_populations_have_the_means_that_are_said() -> None:
    script = importlib.import_module("experiments.03_intervals.simulate")
    rng = np.random.default_rng(0)
    for draw, truth in script.POPULATIONS.values():
        values = draw(rng, 100_000)
        assert values.mean() == pytest.approx(truth, abs=5 * values.std() / np.sqrt(len(values)))
