"""The command `kitsseg.evaluate`."""

import json
import os
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import surface_distance

from kitsseg.data.case import Case
from kitsseg.data.sources.kits import list_cases
from kitsseg.evaluation.metrics import confusion, volume_counts
from kitsseg.evaluation.stats import mean_interval
from kitsseg.training.pixel_counts import region_counts
from tests.conftest import blocky
from tests.helpers import forks
from tests.helpers.commands import find_problems
from tests.helpers.evaluating import TOLERANCE_MM, evaluate, record, rows, save

pytest_plugins = ("tests.helpers.evaluating",)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.logical_and(a, b).sum() / (a.sum() + b.sum())


def official(truth: np.ndarray, prediction: np.ndarray) -> tuple[float, float]:
    """Return Dice of the labels above 0 and above 1, as in KiTS19's starter_code/evaluation.py."""
    return overlap(truth > 0, prediction > 0), overlap(truth > 1, prediction > 1)


# ---- metrics


def test_command_end_to_end(blocks: Path, predicted: Path, tmp_path: Path) -> None:
    """Metrics equal those of the official formula, of surface-distance, and values computed by hand."""
    (predicted / "case_00003.nii.gz").write_bytes(b"not a volume")
    line = [f"predictions={predicted}", f"truth={blocks}", "output=figures", "workers=2"]
    more = ["postprocess=kidneys", "name=shifted"]
    done = forks.command(tmp_path, *line, *more, name="kitsseg.evaluate")
    assert done.returncode == 1
    lines = [line for line in re.split(r"[\r\n]+", done.stderr) if "evaluating" not in line and line]
    assert len(lines) == 1
    assert re.match(
        r"kitsseg.evaluate: case_00003: .*case_00003.nii.gz: is not a NIfTI file.*; write it again$",
        lines[0],
    )
    assert done.stdout.startswith("5 of 6 cases evaluated")
    assert "as predicted\n" in done.stdout and "post-processed\n" in done.stdout
    out = record(tmp_path / "figures")
    assert (out["version"], out["name"], list(out["problems"])) == (2, "shifted", ["case_00003"])
    assert len(out["cases"]) == 5
    for path in predicted.iterdir():
        case = f"case_{path.name.split('_')[1][:5]}"
        if case == "case_00003":
            continue
        truth = np.asarray(nib.load(blocks / case / "segmentation.nii.gz").dataobj)
        prediction = np.asarray(nib.load(path).dataobj)
        figures = out["cases"][case]
        assert (figures["dice"]["kidney"], figures["dice"]["tumour"]) == official(truth, prediction)
        assert figures["dice"]["kidney_label"] == overlap(truth == 1, prediction == 1)
        both = surface_distance.compute_surface_distances(truth > 0, prediction > 0, (3, 0.8, 0.8))
        surface_dice = surface_distance.compute_surface_dice_at_tolerance(both, TOLERANCE_MM)
        assert figures["surface_dice"]["kidney"] == pytest.approx(surface_dice, rel=1e-6)
        hd95 = surface_distance.compute_robust_hausdorff(both, 95)
        assert figures["hd95_mm"]["kidney"] == pytest.approx(hd95, rel=1e-6)
        # 2 slices of 8 x 8 voxels of tumour, each 3 x 0.8 x 0.8 mm.
        assert figures["volume_ml"]["tumour"] == pytest.approx(
            {"prediction": 128 * 1.92e-3, "truth": 128 * 1.92e-3, "error": 0}, rel=1e-5
        )
        assert figures["voxel_ml"] == pytest.approx(1.92e-3)
        assert figures["lesions"] == {"truth": 1, "found": 1, "predicted": 1, "false_positives": 0}
        assert figures["detected"] is True
        assert figures["postprocessed"]["dice"] == figures["dice"]  # one kidney: nothing is removed
        row = rows(tmp_path / "figures")[case]
        assert float(row["dice_kidney"]) == figures["dice"]["kidney"]
        assert float(row["postprocessed_hd95_mm_kidney"]) == figures["hd95_mm"]["kidney"]
        assert row["problem"] == ""
    assert "is not a NIfTI file" in rows(tmp_path / "figures")["case_00003"]["problem"]
    mean = np.mean([case["dice"]["kidney"] for case in out["cases"].values()])
    kidney = out["summary"]["as_predicted"]["dice"]["kidney"]
    assert kidney["mean"] == pytest.approx(mean) and kidney["cases"] == 5
    interval = mean_interval([case["dice"]["kidney"] for case in out["cases"].values()])
    assert (kidney["low"], kidney["high"]) == (interval.low, interval.high)
    names = [path.name for path in (tmp_path / "figures").iterdir()]
    assert sorted(names) == ["evaluation.csv", "evaluation.json"]


def test_metrics_before_and_after_postprocessing_are_stored(
    blocks: Path, predicted: Path, tmp_path: Path
) -> None:
    """Post-processing removes a second, small kidney, which is a false positive."""
    path = predicted / "case_00000.nii.gz"
    label = np.asarray(nib.load(path).dataobj).copy()
    clean = official(np.asarray(nib.load(blocks / "case_00000/segmentation.nii.gz").dataobj), label)[0]
    label[0, :2, 50:60] = 1
    save(path, label)
    rule = ["postprocess=kidneys", "postprocess.regions.kidney.largest=1"]
    assert evaluate(predicted, blocks, tmp_path / "out", *rule) == 0
    out = record(tmp_path / "out")
    case = out["cases"]["case_00000"]
    assert case["postprocessed"]["dice"]["kidney"] == clean > case["dice"]["kidney"]
    assert out["settings"]["postprocess"]["regions"]["kidney"]["largest"] == 1
    assert set(out["summary"]) == {"as_predicted", "postprocessed"}
    assert evaluate(predicted, blocks, tmp_path / "off") == 0
    off = record(tmp_path / "off")
    assert off["cases"]["case_00000"] == {k: v for k, v in case.items() if k != "postprocessed"}
    assert off["settings"]["postprocess"] is None and set(off["summary"]) == {"as_predicted"}


def four_cases(folder: Path) -> tuple[Path, Path]:
    """Predictions and truth of a tumour in neither, a missed and an invented one, and empty volumes."""
    label = blocky(0)[1]
    kidney, nothing = np.minimum(label, 1), label * 0
    pairs = [(kidney, kidney), (kidney, label), (label, kidney), (nothing, nothing)]
    for name in ("predicted", "truth"):
        (folder / name).mkdir()
    for number, (prediction, truth) in enumerate(pairs):
        save(folder / "predicted" / f"case_{number:05d}.nii.gz", prediction)
        save(folder / "truth" / f"case_{number:05d}.nii.gz", truth)
    return folder / "predicted", folder / "truth"


def test_empty_classes(tmp_path: Path) -> None:
    """Neither there nor predicted: no figure. Missed or invented: 0, and no distance."""
    assert evaluate(*four_cases(tmp_path), tmp_path / "out") == 0
    out = record(tmp_path / "out")
    neither, missed, invented, empty = out["cases"].values()
    for case, dice in ((neither, None), (missed, 0), (invented, 0), (empty, None)):
        assert (case["dice"]["tumour"], case["surface_dice"]["tumour"]) == (dice, dice)
        assert case["hd95_mm"]["tumour"] is None
    detected = [case["detected"] for case in (neither, missed, invented, empty)]
    assert detected == [None, False, None, None]
    assert invented["lesions"] == {"truth": 0, "found": 0, "predicted": 1, "false_positives": 1}
    assert set(empty["dice"].values()) == {None}
    summary = out["summary"]["as_predicted"]
    assert summary["dice"]["tumour"] == {"mean": 0, "low": 0, "high": 0, "cases": 2}
    assert summary["dice"]["kidney"]["cases"] == 3
    none = dict.fromkeys(("mean", "median", "low", "high"))
    assert summary["hd95_mm"]["tumour"] == {**none, "cases": 0}
    assert summary["lesions"]["sensitivity"] == 0
    assert summary["lesions"]["false_positives_per_case"] == 0.25
    assert summary["detected"] == {"cases": 1, "detected": 0}
    assert rows(tmp_path / "out")["case_00000"]["dice_tumour"] == ""


@pytest.mark.parametrize(("value", "mean"), [(1.0, 0.5), (0.5, 0.25), (0.0, 0.0)])
def test_absent_regions_can_have_a_dice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: float, mean: float
) -> None:
    """The tumour is in neither volume of the first and last case; cleaning removes the third's, too."""
    cleaning = ["postprocess=tumours", "postprocess.regions.tumour.min_ml=1000"]
    given = [*four_cases(tmp_path), tmp_path / "out"]
    assert evaluate(*given, f"absent_dice={value}", *cleaning) == 0
    out = record(tmp_path / "out")
    assert out["settings"]["absent_dice"] == value
    cases, cleaned = list(out["cases"].values()), [c["postprocessed"] for c in out["cases"].values()]
    for metric in ("dice", "surface_dice"):
        assert [case[metric]["tumour"] for case in cases] == [value, 0, 0, value]
        assert [case[metric]["tumour"] for case in cleaned] == [value, 0, value, value]
        assert [case[metric]["kidney"] for case in cases] == [1, 1, 1, value]
        summary = {name: means[metric] for name, means in out["summary"].items()}
        assert summary["as_predicted"]["tumour"]["mean"] == mean
        assert summary["as_predicted"]["kidney"]["mean"] == (3 + value) / 4
        assert summary["postprocessed"]["tumour"]["mean"] == 3 * value / 4
        assert {entry["cases"] for means in summary.values() for entry in means.values()} == {4}
        row = rows(tmp_path / "out")["case_00002"]
        assert float(row[f"{metric}_tumour"]) == 0
        assert float(row[f"postprocessed_{metric}_tumour"]) == value
    assert {case["hd95_mm"]["tumour"] for case in cases} == {None}
    assert re.search(rf"\nDice +[\d.]+ \[.*\] +{mean:.3f} \[", capsys.readouterr().out)


def test_rule_of_kits21_end_to_end(tmp_path: Path) -> None:
    four_cases(tmp_path)
    given = ["predictions=predicted", "truth=truth", "output=out", "workers=1", "absent_dice=1"]
    done = forks.command(tmp_path, *given, name="kitsseg.evaluate")
    assert done.returncode == 0, done.stderr
    found = record(tmp_path / "out")["summary"]["as_predicted"]["dice"]["tumour"]
    assert (found["mean"], found["cases"]) == (0.5, 4)


def test_counts_equal_those_in_training(block_cases: list[Case]) -> None:
    import torch

    rng = np.random.default_rng(0)
    p, g = rng.integers(0, 3, (2, 9, 400, 300), np.uint8)  # more than one chunk
    theirs = region_counts(torch.from_numpy(p)[None], torch.from_numpy(g)[None])[0].numpy()
    assert np.array_equal(volume_counts(p, g), theirs)
    assert confusion(p, g).sum() == p.size
    with pytest.raises(ValueError, match=r"shapes \(2, 3\) and \(2, 2\) differ"):
        confusion(p[0, :2, :3], g[0, :2, :2])


# ---- cases


def test_predictions_of_a_run_are_named_after_it(blocks: Path, predicted: Path, tmp_path: Path) -> None:
    predicted.rename(tmp_path / "predictions")
    evaluate(tmp_path / "predictions", blocks, tmp_path / "out")
    assert record(tmp_path / "out")["name"] == tmp_path.name


def test_cases_option_selects_cases(blocks: Path, predicted: Path, tmp_path: Path) -> None:
    (predicted / "KiTS_00005_0000.nii.gz").unlink()
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": ["case_00000"], "validation": ["case_00004", "case_00003"]}))
    for chosen, expected in (
        ("predicted", [0, 1, 2, 3, 4]),
        ("[0,2-3]", [0, 2, 3]),
        (f"{split}", [3, 4]),
    ):
        assert evaluate(predicted, blocks, tmp_path / "out", f"cases={chosen}") == 0
        assert list(record(tmp_path / "out")["cases"]) == [f"case_{number:05d}" for number in expected]
    split.write_text("[]")
    with pytest.raises(ValueError, match="split.json: is not the split.json of a run"):
        evaluate(predicted, blocks, tmp_path / "out", f"cases={split}")


def test_empty_folders_are_rejected(blocks: Path, predicted: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="none: holds no label volumes such as case_00042.nii.gz"):
        evaluate(tmp_path / "none", blocks, tmp_path / "out")
    with pytest.raises(ValueError, match="none: holds no label volumes, nor case_XXXXX/segmentation"):
        evaluate(predicted, tmp_path / "none", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---- options

GIVEN = ["predictions=a", "truth=b", "output=c"]


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("missing=skip", "missing=skip: must be error or zero"),
        ("workers=0", "workers=0: must be between 1 and 64"),
        ("tolerance_mm.tumour=-1", "tolerance_mm.tumour=-1.0: must be at least 0 and finite"),
        ("tolerance_mm.cyst=1", "tolerance_mm.cyst: no such key (kidney, kidney_and_masses, "
         "kidney_label, masses, tumour)"),
        ("+tolerance_mm.tumor=1", "tolerance_mm.tumor: no such region; did you mean tumour?"),
        ("absent_dice=1.5", "absent_dice=1.5: must be between 0 and 1"),
        ("absent_dice=nan", "absent_dice=nan: must be between 0 and 1"),
        (
            "absent_dice=skip",
            "absent_dice=skip: Value 'skip' of type 'str' could not be converted to Float",
        ),
        ("lesions.min_overlap=0", "lesions.min_overlap=0: must be in (0, 1]"),
        (
            "cases=some",
            "cases=some: must be labelled, test, all, a number, a range (0-41) or a list of these; or "
            "all, predicted or a run's split.json",
        ),
        ("postprocess=kidney", "postprocess=kidney: no such choice; did you mean kidneys? "
         "(all, kidneys, none, regions, tumours)"),
        ("prediction=x", "prediction: no such key; did you mean predictions?"),
    ],
)  # fmt: skip
def test_mistake_is_reported_in_one_line(override: str, problem: str) -> None:
    assert find_problems("evaluate", [*GIVEN, override]) == [problem]


DATA = Path(os.environ.get("KITSSEG_TEST_DATA", "nowhere")) / "kits19-sim"


@pytest.mark.skipif(not DATA.is_dir(), reason="KITSSEG_TEST_DATA names no folder with kits19-sim")
def test_real_labels_compared_with_themselves_are_perfect(tmp_path: Path) -> None:
    assert evaluate(DATA, DATA, tmp_path / "out", "cases=0-5") == 0
    out = record(tmp_path / "out")
    assert list(out["cases"]) == [case.id for case in list_cases(DATA)[:6]]
    for case in out["cases"].values():
        assert set(case["dice"].values()) == set(case["surface_dice"].values()) == {1}
        assert set(case["hd95_mm"].values()) == {0} and case["lesions"]["false_positives"] == 0
