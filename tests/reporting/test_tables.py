"""Records and tables."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from kitsseg.reporting import run_record, tables
from kitsseg.reporting.html.page import publish
from kitsseg.reporting.runs import Job
from tests.helpers.records import find_records, part, record, validated


def cells(*records: run_record.Record) -> list[list[str]]:
    """Return the rows of Table 1 without the paper's."""
    text = tables.table1_markdown(tables.study(records)).splitlines()
    body = text[4 : text.index(next(line for line in text if "(paper)" in line))]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body]


def write(records: Sequence[run_record.Record], folder: Path) -> list[Path]:
    jobs = [Job(folder, "complete", "", record, None) for record in records]
    return [path for path in publish(jobs, folder) if path.suffix != ".html"]


def test_means_over_cases_and_seeds() -> None:
    (row,) = cells(*(record(seed=s, shift=d) for s, d in ((0, 0.0), (1, 0.1), (2, 0.2))))
    assert row == [
        "unet",
        "0.850 ± 0.000 [0.800, 0.900]",  # the interval of two cases is their range
        "0.500 ± 0.000 [0.400, 0.600]",
        "0.900 ± 0.100",  # 0.8, 0.9, 1.0: the sample standard deviation is 0.1; one case, no interval
        "0.400 ± 0.100",
    ]


def test_folds_of_a_model_are_one_row() -> None:
    """Four cases in two folds: each case is validated in one and trained on in the other."""
    runs = []
    for fold, (low, high) in enumerate([(0.1, 0.2), (0.3, 0.4)]):
        own, other = part([low, high], [low, high], 2 * fold), part([0.9] * 2, [0.8] * 2, 2 - 2 * fold)
        options = ["model=unet", "split=kfold", f"split.fold={fold}"]
        runs.append(
            record(
                before={"train": other, "validation": own},
                overrides=options,
                split={"train": sorted(other), "validation": sorted(own)},
            )
        )
    done = tables.study(runs)
    assert [row.label for row in done.rows] == ["unet"]
    (final,) = done.final
    assert [cell.cases for cell in final] == [4, 4, 4, 4]
    assert [cell.mean.mean for cell in final] == pytest.approx([0.9, 0.8, 0.25, 0.25])
    text = tables.table1_markdown(tables.study(runs))
    assert "4 train, 4 validation" in text and "Folds of one model are pooled" in text
    assert "Folds" not in tables.table1_markdown(tables.study(runs[:1]))


def test_the_note_counts_the_cases_of_runs_and_evaluations() -> None:
    evaluation = record("b", epochs={}, before={"train": {}, "validation": part([0.5], [0.5])})
    assert "averaged over cases (1)" in tables.note(tables.study([evaluation]))
    runs = [validated("a", [0.5, 0.6]), validated("c", [0.5])]
    assert "averaged over cases (1 train, 1 or 2 validation)" in tables.note(
        tables.study([evaluation, *runs])
    )


def test_the_note_on_one_seed_per_model() -> None:
    text = tables.note(tables.study([record("a", 0), record("b", 1)]))
    assert "Each model has one seed (0, 1), so the intervals exclude variation between seeds." in text
    assert "±" not in text


def test_cases_have_equal_weight() -> None:
    """The number of voxels does not change a case's weight."""
    light, heavy = validated("unet", [0.2, 0.9, 0.7]), validated("unet", [0.2, 0.9, 0.7])
    heavy.before["validation"]["case_00000"]["voxels"] = {"tumour": [10**7, 10**7, 10**8]}
    assert tables.table1_markdown(tables.study([light])) == tables.table1_markdown(tables.study([heavy]))
    assert [cell.cases for cell in tables.study([heavy]).final[0]] == [1, 1, 3, 3]


def test_different_cases_in_one_row() -> None:
    """Every case counts once; the spread over seeds uses the common cases."""
    (row,) = tables.study(
        [validated("unet", [0.2, 0.4, 0.6]), validated("unet", [0.6, 0.8], first=1, seed=1)]
    ).final
    kidney = row[2]
    assert kidney.cases == 3 and kidney.mean.mean == pytest.approx((0.2 + 0.5 + 0.7) / 3)
    assert kidney.sd == pytest.approx(np.std([0.5, 0.7], ddof=1))


def test_fine_tuned_scores_are_final_and_stage_one_is_kept() -> None:
    after = {"train": part([1.0], [1.0]), "validation": part([0.95], [0.5])}
    text = tables.table1_markdown(tables.study([record(after=after)]))
    final, before = text.split("Before fine-tuning")
    assert "| unet                   | 1.000        | 1.000       | 0.950      | 0.500     |" in final
    assert "| unet  | 0.850 [0.800, 0.900] | 0.500 [0.400, 0.600] | 0.800      | 0.300     |" in before
    assert "0.850" in before and "0.300" in before
    assert "UNet-Attention (paper) | 0.96         | 0.90        | 0.90       | 0.57" in final
    assert "1 train, 1 validation" in text


def test_undefined_scores_are_excluded() -> None:
    some = {"train": part([0.9, None], [None, None]), "validation": part([1.0], [0.0])}
    assert cells(record(before=some)) == [["unet", "0.900", "–", "1.000", "0.000"]]


def test_csv_is_exact_and_latex_is_booktabs(tmp_path: Path) -> None:
    paths = write([record("attn_unet", shift=1 / 3)], tmp_path)
    assert [p.name for p in paths] == ["table1.md", "table1.csv", "table1.tex"]
    rows = list(csv.DictReader((tmp_path / "table1.csv").open()))
    assert float(rows[0]["Val Tumor mean"]) == np.mean([0.3 + 1 / 3])
    assert [rows[0][f"Val Tumor {kind}"] for kind in ("sd", "low", "high", "cases")] == ["", "", "", "1"]
    assert (float(rows[0]["Train Tumor low"]), rows[0]["Train Tumor cases"]) == (0.4, "2")
    assert rows[-1]["model"] == "UNet-Attention (paper)"
    tex = (tmp_path / "table1.tex").read_text()
    assert r"attn\_unet & 0.850 [0.800, 0.900] & 0.500 [0.400, 0.600] & 1.133 & 0.633 \\" in tex
    assert tex.count(r"\midrule") == 2 and r"\bottomrule" in tex


def test_several_models_are_compared(tmp_path: Path) -> None:
    runs = [validated("unet", [0.2, 0.3, 0.4]), validated("attn_unet", [0.3, 0.5, 0.7])]
    names = [path.name for path in write(runs, tmp_path)]
    assert names[3:] == ["differences.csv", "differences.tex"]
    text = (tmp_path / "table1.md").read_text()
    assert text == tables.table1_markdown(tables.study(runs))
    assert (
        "| attn_unet − unet | tumour | undecided | 3     | +0.200 [+0.100, +0.300] | 0.250 | 0.500    | "
        "+1.00" in text
    )
    assert "Wilcoxon signed-rank" in text
    assert "Wilcoxon" not in tables.table1_markdown(tables.study(runs[:1]))
    assert (
        r"attn\_unet $-$ unet & tumour & undecided & 3 & +0.200"
        in (tmp_path / "differences.tex").read_text()
    )


def test_strata_by_volume(tmp_path: Path) -> None:
    run = validated("unet", [0.2, 0.8, 0.9])
    for entry, ml in zip(run.before["validation"].values(), (10, 20, 600), strict=True):
        entry.update(voxels={"tumour": [0, 0, 1000 * ml]}, voxel_ml=0.001)
    assert write([run], tmp_path)[-1].name == "strata.csv"
    rows = list(csv.DictReader((tmp_path / "strata.csv").open()))
    assert [(r["stratum"], r["region"], r["cases"], float(r["mean"])) for r in rows] == [
        ("≤ 34 ml", "kidney", "2", 0.5),
        ("≤ 34 ml", "tumour", "2", 0.5),
        ("> 524 ml", "kidney", "1", 0.9),
        ("> 524 ml", "tumour", "1", 0.9),
    ]
    assert "## Tumour volume" in (tmp_path / "table1.md").read_text()


def test_record_round_trip(tmp_path: Path) -> None:
    record().write(tmp_path)
    assert run_record.read(tmp_path / "result.json") == record()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "not a record of a run"),
        ("[]", "not a record of a run"),
        (json.dumps({"version": 0}), "record version 0 is not supported"),
        (json.dumps({"version": 1, "name": "t"}), "missing after, before"),
    ],
)
def test_invalid_records_raise(tmp_path: Path, content: str, text: str) -> None:
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(ValueError, match=text):
        run_record.read(tmp_path / "result.json")


def test_records_are_found_in_job_order(tmp_path: Path) -> None:
    for number in (10, 2, 0):
        (tmp_path / f"{number}_model=unet").mkdir()
        record(seed=number).write(tmp_path / f"{number}_model=unet")
    assert [run_record.read(p).seed for p in find_records(tmp_path)] == [0, 2, 10]


def test_missing_runs_are_marked_in_every_table() -> None:
    done = tables.study(
        [record()], [Job(Path("model=x,seed=1"), "failed", "the disk is full", None, None)]
    )
    texts = tables.texts(done)
    (line,) = [line for line in texts["table1.md"].splitlines() if line.startswith("| model=x")]
    assert [cell.strip() for cell in line.split("|")[1:-1]] == ["model=x,seed=1", *["failed"] * 4]
    assert "\nmodel=x,seed=1 failed: the disk is full\n" in texts["table1.md"]
    head, *body = list(csv.reader(texts["table1.csv"].splitlines()))
    (line,) = [line for line in body if line[0] == "model=x,seed=1"]
    assert len(line) == len(head) and line[1] == "failed" and not any(line[2:])
    assert texts["table1.tex"].count("failed") == 4
