"""`window=auto` from the command line: own classes, resuming, two ranks, prediction and export."""

import json
import signal
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from kitsseg.config.validation import CONFIG_DIR
from kitsseg.export import run as export
from kitsseg.inference import checkpoint
from kitsseg.inference.segmenter import Segmenter
from kitsseg.reporting import run_record
from tests.commands.test_own_classes import SMALL, data_set
from tests.conftest import blocky, write_case
from tests.helpers import forks
from tests.helpers.commands import find_problems
from tests.helpers.predicting import predict

LINE = [
    *SMALL, "window=auto", "window.low_percentile=5", "logger=none", "hydra.run.dir=run",
    "+callbacks.kill._target_=tests.helpers.killer.Killer",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Four classes of nnU-Net's layout, two ranks, killed in stage two; return the folder."""
    home = tmp_path_factory.mktemp("auto")
    root = data_set(home)
    line = [
        "data=nnunet", f"data.root={root}", "labels=nnunet", *LINE, "paths.data=data",
        "trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu",
    ]  # fmt: skip
    assert -signal.SIGKILL in forks.run(home, *line, ranks=2, env={"KILL": "finetune:1"})
    assert {"train", "evaluate"} <= json.loads((home / "run/phases.json").read_text()).keys()
    assert forks.run(home, *line, ranks=2) == [0, 0]
    return home, line


def test_record_and_checkpoints_hold_the_window(trained: tuple[Path, list[str]]) -> None:
    home, _ = trained
    record = run_record.read(home / "run/result.json")
    files = [home / f"nnunet/{name}" for name in ("imagesTr/{}_0000.nii.gz", "labelsTr/{}.nii.gz")]
    hu = []
    for case in record.split["train"]:
        image, label = (np.asarray(nib.load(str(f).format(case)).dataobj) for f in files)
        hu.append(image[label > 0])  # kidney, tumour and cyst
    voxels = np.concatenate(hu)
    low, high = np.percentile(voxels, [5, 99.5])
    wanted = {"low_hu": low, "high_hu": high, "mean_hu": voxels.mean(), "sd_hu": voxels.std()}
    assert record.window == pytest.approx(wanted, rel=1e-12)
    assert record.config["window"]["low_percentile"] == 5
    for path in (home / "run/checkpoints").glob("*/*.ckpt"):
        assert checkpoint.read(path)["kitsseg"]["window"] == record.window
    # Once in each of the two attempts, by the first rank.
    assert (home / "said.txt").read_text().count(f"training cases: low_hu={low:.6g}, ") == 2


def test_predict_export_and_initial_weights(trained: tuple[Path, list[str]], tmp_path: Path) -> None:
    home, line = trained
    path = home / "run/checkpoints/finetune/best.ckpt"
    assert predict(path, home / "nnunet/imagesTr", tmp_path / "out") == 0
    for case in run_record.read(home / "run/result.json").split["validation"]:
        files = (tmp_path / "out" / f"{case}.nii.gz", home / "run/predictions" / f"{case}.nii.gz")
        label, kept = (np.asarray(nib.load(file).dataobj) for file in files)
        assert np.array_equal(label, kept)
    pytest.importorskip("onnxruntime")
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        export(compose("export", [f"checkpoint={path}", f"output={tmp_path}", "formats=[onnx]"]))
    image = blocky(0)[0]
    labels = [
        Segmenter.load(p, device="cpu", precision="32-true")(image)
        for p in (path, tmp_path / "best.onnx")
    ]
    assert (labels[0] != labels[1]).mean() < 1e-3
    alone = [option for option in line if not option.startswith(("finetune", "trainer", "hydra"))]
    more = [
        "trainer=cpu",
        "trainer.max_epochs=1",
        "finetune=none",
        "split.seed=1",
        "hydra.run.dir=again",
    ]
    assert forks.run(home, *alone, *more, f"init_from={path}") == [0]
    first, second = (run_record.read(home / name / "result.json") for name in ("run", "again"))
    assert first.split != second.split and first.window != second.window


def test_training_cases_without_foreground(tmp_path: Path) -> None:
    for number in range(3):
        image, label = blocky(number)
        write_case(tmp_path / "raw", number, image, label * 0)
    needless = ("finetune", "augmentation", "data.target_repeat")
    small = [option for option in SMALL if not option.startswith(needless)]
    line = [f"data.root={tmp_path / 'raw'}", *small, "finetune=none", "logger=none", "paths.data=data"]
    assert forks.run(tmp_path, *line, "window=auto", "name=bad") == [1]
    said = (tmp_path / "said.txt").read_text()
    assert "kitsseg.train: window=auto: the training cases have no foreground voxel; check their" in said
    assert "Traceback" not in said and not list(tmp_path.rglob("*.ckpt"))
    assert forks.run(tmp_path, *line, "window=kits", "name=good") == [0]


def test_a_percentile_out_of_range_is_refused_before_training() -> None:
    (problem,) = find_problems("train", ["data=phantom", "window=auto", "window.low_percentile=99.6"])
    assert problem.startswith("window.low_percentile=99.6: must be at least 0 and below high_per")
