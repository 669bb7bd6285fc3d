"""The scripts of the experiments run, with fewer repetitions."""

import importlib
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from kitsseg.data.case import LABEL_NAME
from kitsseg.data.sources.table import Table
from tests import ROOT
from tests.helpers.commands import find_problems
from tests.reporting.html.made import record, write_run

FAST = ROOT / "experiments" / "02_fast"
REAL = ROOT / "experiments" / "05_real"


@pytest.mark.parametrize("name", sorted(p.stem for p in (FAST / "conf" / "experiment").glob("*.yaml")))
def test_each_change_of_the_fast_recipe_has_a_valid_config_and_a_table_row(name: str) -> None:
    assert find_problems("train", [f"experiment={name}"], config_dir=str(FAST / "conf")) == []
    assert f"| `{name}` |" in (FAST / "README.md").read_text()


@pytest.mark.parametrize("name", sorted(p.stem for p in (REAL / "conf" / "experiment").glob("*.yaml")))
def test_each_recipe_for_real_slices_has_a_valid_config_and_is_on_the_page(name: str) -> None:
    assert find_problems("train", [f"experiment={name}"], config_dir=str(REAL / "conf")) == []
    assert f"`{name}`" in (REAL / "README.md").read_text()


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


def test_runs_are_compared_with_a_public_network_slice_by_slice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = importlib.import_module("experiments.05_real.public_network")
    cases = [f"case_{number:05d}" for number in range(8)]
    (tmp_path / "run" / "predictions").mkdir(parents=True)
    for case in cases:
        (tmp_path / case).mkdir()
        truth = np.zeros((2, 4, 4), np.uint8)
        truth[:, 0] = 1
        predicted = truth.copy()
        predicted[1, 1] = 2  # 4 true, 8 predicted: a Dice of 2 / 3
        for path, label in (
            (tmp_path / case / "segmentation.nii.gz", truth),
            (tmp_path / "run" / "predictions" / f"{case}.nii.gz", predicted),
        ):
            nib.save(nib.Nifti1Image(label, np.eye(4)), path)  # type: ignore[attr-defined, no-untyped-call]
    (tmp_path / "run" / "split.json").write_text(json.dumps({"train": [], "validation": cases}))
    kinds = [{"kind": "s50"}, {"kind": "mid"}]
    (tmp_path / "slices.json").write_text(json.dumps(dict.fromkeys(cases, kinds)))
    table = tmp_path / "public.csv"
    lines = [f"{case},mid,0.5" for case in [*cases, "case_00099"]]
    table.write_text("\n".join(["case,kind,dice_kidney_and_tumour", *lines]))
    monkeypatch.setattr("sys.argv", ["", str(tmp_path), str(table), str(tmp_path / "run")])
    script.main()
    out = capsys.readouterr().out
    assert "8 slices of 8 patients" in out and "run: mean Dice 0.667" in out
    assert "difference per patient: +0.167 [+0.167, +0.167], p = 0.00781" in out


def test_the_example_slices_of_a_run_are_drawn(tmp_path: Path) -> None:
    script = importlib.import_module("experiments.05_real.draw_slices")
    run = write_run(tmp_path / "run", record("unet", [0.1, 0.5, 0.9], [0.2, 0.6, 0.9]))
    script.draw([run], tmp_path / "slices.png")
    assert (tmp_path / "slices.png").stat().st_size > 10_000


def test_the_first_epochs_of_a_sweep_are_a_table(tmp_path: Path) -> None:
    script = importlib.import_module("experiments.05_real.first_epochs")
    for name, first in (("start", 0.1), ("start", 0.3), ("start_ce", 0.1)):
        curve = [{"epoch": i, "val/kidney_dice": first + 0.05 * i} for i in range(10)]
        given = [f"experiment={name}"]
        run = record("attn_unet", [0.5], [0.5], overrides=given, curves={"train": curve})
        write_run(tmp_path / f"{name}-{first}", run)
    two, one = script.table(tmp_path).splitlines()[-2:]
    assert two.startswith("| `start` | 2 | 0.20 ± 0.14 | 0.25 ± 0.14 |")
    assert two.endswith("| 0.65 ± 0.14 |")
    assert one.startswith("| `start_ce` | 1 | 0.10 | 0.15 |")
