"""The scripts of the experiments run, with fewer repetitions."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from kitsseg.data.case import LABEL_NAME
from kitsseg.data.sources.table import Table
from tests import ROOT
from tests.helpers.commands import find_problems

FAST = ROOT / "experiments" / "02_fast"


@pytest.mark.parametrize("name", sorted(p.stem for p in (FAST / "conf" / "experiment").glob("*.yaml")))
def test_each_change_of_the_fast_recipe_has_a_valid_config_and_a_table_row(name: str) -> None:
    assert find_problems("train", [f"experiment={name}"], config_dir=str(FAST / "conf")) == []
    assert f"| `{name}` |" in (FAST / "README.md").read_text()


def test_intervals_are_simulated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = importlib.import_module("experiments.03_intervals.simulate")
    monkeypatch.setattr(script, "ROUNDS", 2)
    monkeypatch.setattr(script, "DRAWS", 19)
    script.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == sum(2 + rows + 1 for rows in (9, 18, 6))
    assert all(cell.strip() in ("0.000", "0.500", "1.000") for cell in lines[2].split("|")[3:-1])


def test_populations_have_the_stated_means() -> None:
    script = importlib.import_module("experiments.03_intervals.simulate")
    rng = np.random.default_rng(0)
    for draw, truth in script.POPULATIONS.values():
        values = draw(rng, 100_000)
        assert values.mean() == pytest.approx(truth, abs=5 * values.std() / np.sqrt(len(values)))


def test_the_table_of_a_folder_lists_its_labelled_cases(blocks: Path, tmp_path: Path) -> None:
    script = importlib.import_module("experiments.06_kits23_regions.write_table")
    assert script.write_table(blocks, tmp_path / "cases.csv", LABEL_NAME) == 6
    cases = Table().find(tmp_path / "cases.csv")
    assert [case.label for case in cases] == [case.image.with_name(LABEL_NAME) for case in cases]
    with pytest.raises(SystemExit, match="segmentation_kits23"):
        script.write_table(blocks, tmp_path / "none.csv")
    assert not (tmp_path / "none.csv").exists()


def test_sites_are_simulated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = importlib.import_module("experiments.03_intervals.sites")
    monkeypatch.setattr(script, "ROUNDS", 2)
    script.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 9
    assert all(cell.strip() in ("0.000", "0.500", "1.000") for cell in lines[2].split("|")[3:-1])
