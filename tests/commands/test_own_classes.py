"""Four classes from end to end: nnU-Net's layout, its own class names, training to predictions."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from kitsseg.config.validation import CONFIG_DIR
from kitsseg.evaluate import PRESET
from kitsseg.reporting import run_record
from tests.commands.test_prepare import prepare
from tests.conftest import blocky, write_case
from tests.helpers.commands import find_problems
from tests.helpers.evaluating import evaluate, record
from tests.helpers.forks import command
from tests.helpers.predicting import predict
from tests.helpers.sources import nnunet
from tests.helpers.verifying import verify

NAMES = {"background": 0, "kidney": 1, "tumour": 2, "renal cyst": 3}
SMALL = [
    "data.batch_size=4", "split.validation=0.34", "model=unet", "model.width=4", "model.depth=2",
    "trainer=cpu", "trainer.max_epochs=2", "finetune.epochs=1", "logger=csv", "data.prepare_workers=1",
    "data.background_keep=1", "data.target_repeat=2", "augmentation=patch",
]  # fmt: skip


def data_set(folder: Path) -> Path:
    """The crude cases with a cyst beside each kidney, in nnU-Net's layout."""
    cases = []
    for number in range(6):
        image, label = blocky(number)
        label[2:5, 50:56, 40:48] = 3
        image[label == 3] = 10
        cases.append(write_case(folder / "raw", number, image, label))
    return nnunet(folder / "nnunet", cases, labels=NAMES)


def test_train_evaluate_and_predict_with_the_classes_of_nnunet(tmp_path: Path) -> None:
    root = data_set(tmp_path)
    line = ["data=nnunet", f"data.root={root}", "labels=nnunet", *SMALL]
    assert find_problems("train", line) == []
    done = command(tmp_path, *line)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.rglob("result.json")
    run = run_record.read(path)
    assert run.label_set.classes == ["background", "kidney", "tumour", "renal_cyst"]
    assert run.label_set.target == "renal_cyst"  # the last one
    (scores, *_) = run.final["validation"].values()
    assert list(scores["dice"]) == ["kidney", "tumour", "renal_cyst"]
    assert "Val renal cyst" in (path.parent / "table1.md").read_text()
    assert "UNet (paper)" not in done.stdout
    assert (path.parent / "report.html").is_file()

    (checkpoint,) = path.parent.rglob("finetune/best.ckpt")
    out = tmp_path / "predictions"
    assert predict(checkpoint, root / "imagesTr", out, "probabilities=true") == 0
    rows = list(csv.DictReader((out / "volumes.csv").open()))
    assert len(rows) == 6 and {"kidney_ml", "tumour_ml", "renal_cyst_ml"} <= set(rows[0])
    assert len(list((out / "probability_renal_cyst").iterdir())) == 6
    again = tmp_path / "metrics"
    options = ["source=nnunet", "labels=nnunet", "postprocess=all"]
    assert evaluate(out, root, again, *options, "cases=all") == 0
    summary = record(again)["summary"]["as_predicted"]
    assert list(summary["dice"]) == ["kidney", "tumour", "renal_cyst"]
    # The label volumes that training wrote give its own metrics.
    kept = tmp_path / "kept"
    assert evaluate(path.parent / "predictions", root, kept, *options, "cases=predicted") == 0
    for case, values in record(kept)["cases"].items():
        assert values["dice"] == run.final["validation"][case]["dice"]


def test_verify_and_prepare_follow_the_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = data_set(tmp_path)
    code, report = verify(root, "source=nnunet")  # with the classes of KiTS19
    assert code == 1
    (problem, *_) = report["cases"][0]["problems"]
    assert "case_00000.nii.gz" in problem and "3" in problem and "144 voxels" in problem
    code, report = verify(root, "source=nnunet", "labels=nnunet")
    assert code == 0 and set(report["cases"][0]["ml"]) == {"kidney", "tumour", "renal_cyst"}
    assert "renal_cyst ml" in capsys.readouterr().out
    prepare(tmp_path, "data=nnunet", f"data.root={root}", "labels=nnunet")
    assert "with kidney or tumour or renal_cyst, " in capsys.readouterr().out
    # Other labels have a store of their own.
    prepare(tmp_path, "data=nnunet", f"data.root={root}", "labels=kidney")
    assert len(list((tmp_path / "prepared").iterdir())) == 2


@pytest.mark.parametrize("choice", ["kits19", "kits23", "kidney"])
def test_every_shipped_region_has_a_tolerance(choice: str) -> None:
    given = ["predictions=a", "truth=b", "output=c", f"labels={choice}"]
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("evaluate", given)
    assert set(cfg.labels.regions) <= set(cfg.tolerance_mm) == set(PRESET)
    own = ["+labels.regions.lesion=[kidney]", "+tolerance_mm.lesion=2"]
    assert find_problems("evaluate", [*given, *own]) == []


def test_labels_that_contradict_dataset_json_are_one_line(tmp_path: Path) -> None:
    root = data_set(tmp_path)
    path = root / "dataset.json"
    path.write_text(path.read_text().replace('"kidney"', '"liver"'))
    said = f"{path}: value 1 is liver, but the labels read it as kidney; set "
    remedy = ["labels=nnunet"]
    (tmp_path / "out").mkdir()
    for run in (
        lambda *labels: verify(root, "source=nnunet", *labels),
        lambda *labels: evaluate(root / "labelsTr", root, tmp_path / "out", "source=nnunet", *labels),
        lambda *labels: prepare(tmp_path, "data=nnunet", f"data.root={root}", *labels),
    ):
        with pytest.raises(ValueError) as error:
            run()
        assert str(error.value).startswith(f"{said}{' '.join(remedy)}, or labels")
        run(*remedy)


def test_stage_two_without_a_target_is_refused_before_training(tmp_path: Path) -> None:
    for number in range(6):
        image, label = blocky(number)
        write_case(tmp_path / "raw", number, image, np.minimum(label, 1))
    line = ["data=kits19", f"data.root={tmp_path / 'raw'}", *SMALL, "data.target_repeat=1"]
    line.remove("finetune.epochs=1")
    done = command(tmp_path, *line)
    assert done.returncode == 1
    assert "kitsseg.train: finetune=tumor: no training slice contains tumour; use finet" in done.stderr
    assert "no validation case contains tumour" in done.stdout + done.stderr
    assert not list(tmp_path.rglob("*.ckpt"))
    done = command(tmp_path, *line, "finetune=none", "name=remedy")
    assert done.returncode == 0, done.stderr
