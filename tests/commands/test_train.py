"""The command `kitsseg.train`: a small sweep on phantoms, its outputs, failures and reproducibility."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from kitsseg import report
from kitsseg.config.validation import CONFIG_DIR
from kitsseg.data.io.nifti.read import read_label
from kitsseg.inference import checkpoint
from kitsseg.reporting import run_record, runs, showcase, tables
from kitsseg.train import run
from kitsseg.training import showcase as training_showcase
from kitsseg.training.final_evaluation import score_case
from tests import ROOT
from tests.helpers.forks import command
from tests.helpers.records import find_records
from tests.helpers.reports import report_config, traced

SMALL = [
    "experiment=demo", "data.source.cases=6", "data.source.slices=10", "data.source.size=64",
    "data.source.workers=1", "data.prepare_workers=1", "data.batch_size=4", "split.validation=0.34",
    "model.width=4", "model.depth=2", "trainer.max_epochs=2", "finetune.epochs=1",
]  # fmt: skip


def start(
    folder: Path, *arguments: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `python -m kitsseg.train` as `command` does, but in a new process that imports everything."""
    hidden = ("WANDB", "KITSSEG", "PYTEST")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
    env = {**kept, "PYTHONPATH": str(ROOT), **({} if env is None else env)}
    return subprocess.run(
        [sys.executable, "-m", "kitsseg.train", *arguments],
        cwd=folder, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=400,
    )  # fmt: skip


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Run a sweep over both models; return its folder and its output."""
    home = tmp_path_factory.mktemp("sweep")
    done = command(home, "-m", *SMALL, "model=unet,attn_unet")
    assert done.returncode == 0, done.stderr
    return home / "outputs" / "demo", done


def test_sweep_writes_and_prints_table_1(
    sweep: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = sweep
    records = [run_record.read(path) for path in find_records(folder)]
    assert [r.model for r in records] == ["unet", "attn_unet"]
    assert (folder / "table1.md").read_text() == tables.table1_markdown(tables.study(records))
    assert tables.table1_markdown(tables.study(records)) in done.stdout
    assert f"{folder.name}/table1.csv" in done.stdout and f"{folder.name}/table1.tex" in done.stdout
    assert "epoch 2/2, 0:00 left | loss" in done.stdout and "finetune 1/1, 0:00" in done.stdout


def test_record_contains_every_case_before_and_after_finetuning(
    sweep: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    for path in find_records(sweep[0]):
        record = run_record.read(path)
        assert record.after is not None
        assert sorted(sum(record.split.values(), [])) == [f"case_{i:05d}" for i in range(6)]
        for figures in (record.before, record.after):
            for part in ("train", "validation"):
                assert sorted(figures[part]) == record.split[part]
                for case in figures[part].values():
                    assert set(case["dice"]) == {"kidney", "tumour", "kidney_label"}
        assert record.environment["precision"] and record.environment["torch"]
        assert record.config["model"]["width"] == 4
        assert record.epochs["train"]["run"] == 2 and record.epochs["train"]["best"] in (1, 2)
        assert json.loads((path.parent / "status.json").read_text())["status"] == "complete"


def test_record_contains_the_logged_curves(
    sweep: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    for path in find_records(sweep[0]):
        curves = run_record.read(path).curves
        assert [len(curves[stage]) for stage in ("train", "finetune")] == [2, 1]
        logged = list(csv.DictReader((path.parent / "metrics.csv").open()))
        for stage, prefix in (("train", ""), ("finetune", "finetune/")):
            for name in ("train/loss", "val/loss", "val/kidney_dice", "val/tumour_dice"):
                own = [float(row[prefix + name]) for row in logged if row[prefix + name]]
                assert [epoch[name] for epoch in curves[stage]] == pytest.approx(own)


def test_run_stores_predictions_and_example_cases(
    sweep: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    for path in find_records(sweep[0]):
        record, folder = run_record.read(path), path.parent
        (labels,) = (sweep[0].parents[1] / "data").glob("phantom/*")
        for kept, figures in (("predictions", record.after), ("predictions/before", record.before)):
            assert figures is not None
            cases = record.split["validation"]
            assert sorted(p.name for p in (folder / kept).glob("*.nii.gz")) == [
                f"{case}.nii.gz" for case in cases
            ]
            for case in cases:
                truth = labels / case / "segmentation.nii.gz"
                again = score_case(read_label(folder / kept / f"{case}.nii.gz"), read_label(truth))
                assert again["voxels"] == figures["validation"][case]["voxels"]
                volume = np.prod(nib.load(truth).header.get_zooms()) / 1000
                assert figures["validation"][case]["voxel_ml"] == pytest.approx(volume)
        shown = {each.role: each for each in showcase.read(folder)}
        assert {role: each.case for role, each in shown.items()} == training_showcase.choose_examples(
            record.final["validation"], "tumour"
        )
        gates = 0 if record.model == "unet" else 1  # model.depth - 1: the first skip has no gate
        assert {len(each.gates) for each in shown.values()} == {gates}


def test_every_number_of_the_page_is_computed_again_from_the_checkpoints(
    sweep: tuple[Path, subprocess.CompletedProcess[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    shown = {name: text for text, name in traced((sweep[0] / "report.html").read_text())}
    kinds = {name.partition("/")[0] for name in shown}
    assert {"mean", "before", "difference", "p", "stratum", "case", "volume", "tuning"} <= kinds
    assert report.run(report_config(sweep[0], cell="all", recompute=True)) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert dict(line.split(": ", 1) for line in lines) == shown
    assert last == f"{len(shown)} of {len(shown)} numbers are equal to those of the records"


def test_a_changed_number_file_or_checkpoint_is_noticed(
    sweep: tuple[Path, subprocess.CompletedProcess[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = tmp_path / "job"
    shutil.copytree(find_records(sweep[0])[0].parent, job)
    values = json.loads((job / "result.json").read_text())
    assert set(values["hashes"]) == set(sum(values["split"].values(), []))
    (validation,) = values["split"]["validation"][:1]
    values["before"]["validation"][validation]["dice"]["kidney"] = 0.999
    (job / "result.json").write_text(json.dumps(values))
    cell = f"before/{values['model']}/validation/kidney"
    assert report.run(report_config(job, cell=cell, recompute=True)) == 1
    assert "(the records give " in capsys.readouterr().out
    values["hashes"][validation]["image"] = "0" * 64
    (job / "result.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match="imaging.nii.gz: differs from the file that .* used"):
        report.run(report_config(job, cell=cell, recompute=True))
    values["hashes"], values["checkpoints"]["train"] = {}, "0" * 64
    (job / "result.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match="best.ckpt: differs from the checkpoint"):
        report.run(report_config(job, cell=cell, recompute=True))
    values["config"]["data"]["source"]["_target_"] = "os.system"
    (job / "result.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match="has no data source"):
        report.run(report_config(job, cell=cell, recompute=True))


def test_sweep_writes_the_report(
    sweep: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = sweep
    page = (folder / "report.html").read_text()
    assert f"{folder.name}/report.html" in done.stdout
    assert "2 runs (2 complete)" in page and 'id="attention"' in page and 'class="curve' in page


def test_checkpoints_of_both_stages_exist_and_load(
    sweep: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    for job in find_records(sweep[0]):
        stages = {}
        for stage in ("train", "finetune"):
            for name in ("best", "last"):
                loaded = checkpoint.load(job.parent / "checkpoints" / stage / f"{name}.ckpt")
                stages[stage] = loaded.net.state_dict()
            assert loaded.provenance["config"]["name"] == "demo"
        frozen = [k for k in stages["train"] if k.startswith("encoder.")]
        before = checkpoint.load(job.parent / "checkpoints/train/best.ckpt").net.state_dict()
        assert frozen
        assert all(np.array_equal(before[k], stages["finetune"][k]) for k in frozen)


def test_each_job_has_its_own_offline_run_and_curves(
    sweep: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    names = []
    for job in find_records(sweep[0]):
        (offline,) = (job.parent / "wandb").glob("offline-run-*")
        names.append(offline.name)
        assert list(offline.glob("*.wandb"))
        curves = (job.parent / "metrics.csv").read_text()
        assert "val/tumour_dice" in curves and "finetune/val/loss" in curves and "final/val" in curves
    assert len(set(names)) == 2


def test_same_seed_gives_the_same_metrics_in_another_process(
    sweep: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    folder = sweep[0]
    paths = [f"paths.data={folder.parents[1] / 'data'}", f"paths.output={tmp_path}", "logger=none"]
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("train", [*SMALL, *paths, "model=attn_unet", "data.workers=2"])
    run(cfg, tmp_path, "attn_unet", [])
    again, first = (run_record.read(find_records(f)[-1]) for f in (tmp_path, folder))
    assert (again.before, again.after) == (first.before, first.after)


def test_failing_job_is_reported_at_once_and_others_continue(
    sweep: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    data = f"paths.data={sweep[0].parents[1] / 'data'}"
    done = command(
        tmp_path, "-m", *SMALL, data, "logger=none", "finetune=none", "trainer.max_epochs=1",
        "data.exclude=[case_99999],[]",
    )  # fmt: skip
    assert done.returncode == 1
    assert "kitsseg.train: data.exclude=['case_99999']: data.root has no such cases" in done.stderr
    assert "Traceback" not in done.stderr
    assert "finetune=none: finetune.epochs has no effect" in done.stdout
    folder = tmp_path / "outputs" / "demo"
    jobs = runs.jobs_below(folder)
    assert [job.state for job in jobs] == ["failed", "complete"]
    assert "attn_unet" in (folder / "table1.md").read_text()
    assert f"failed: {jobs[0].folder.relative_to(tmp_path)}" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["model=atn_unet"], "did you mean attn_unet?"),
        (["data.root=nowhere"], "data.root=nowhere: does not exist"),
    ],
)
def test_errors_are_reported_in_one_line(tmp_path: Path, arguments: list[str], text: str) -> None:
    done = start(tmp_path, *arguments, "logger=none", "trainer=cpu")
    assert done.returncode in (1, 2)
    (line,) = [line for line in done.stderr.splitlines() if line.strip()]
    assert line.startswith("kitsseg.train: ") and text in line
