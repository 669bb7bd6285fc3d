"""A wrong key or value is reported before anything runs, in one line with the closest valid name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from kitsseg.config.components import instantiate
from kitsseg.config.validation import CONFIG_DIR
from kitsseg.data.slices.augment import Augmentation
from tests import ROOT
from tests.helpers import commands
from tests.helpers.commands import check_command_line, find_problems
from tests.helpers.sources import nnunet

# base.yaml contains shared values and is not a choice. `postprocess` is not a group of training.
SHIPPED = sorted(
    f"{path.parent.name}={path.stem}"
    for path in CONFIG_DIR.glob("*/*.yaml")
    if path.stem != "base" and path.parent.name != "postprocess"
)
NO_ATN_UNET = (
    "model=atn_unet: no such choice; did you mean attn_unet? "
    "(attn_unet, attn_unet3d, monai_attention_unet, monai_basic_unet, monai_dynunet, monai_segresnet, "
    "monai_segresnet3d, unet, unet25d, unet3d)"
)
NO_BATCH = (
    "loss.dice.bacth: kitsseg.training.losses.SorensenDice has no such argument; did you mean loss.dice"
)


def composed(*overrides: str, command: str = "train") -> DictConfig:
    """Return the configuration that `hydra.main` passes to the command."""
    commands.command(command)
    with initialize_config_dir(config_dir=str(CONFIG_DIR), version_base="1.3"):
        return compose(command, list(overrides))


# ---- valid configurations


@pytest.mark.parametrize("choice", SHIPPED)
def test_every_shipped_choice_is_valid(choice: str, tmp_path: Path) -> None:
    command, given = "train", ["data.root=."]
    if choice.startswith("source="):
        command, given = "verify", ["root=."]
    if choice == "labels=nnunet":
        nnunet(tmp_path, [])
        given = ["data=nnunet", f"data.root={tmp_path}"]
    if choice == "split=file":
        (tmp_path / "split.json").write_text('{"train": ["a"], "validation": ["b"]}')
        given.append(f"split.path={tmp_path}/split.json")
    assert find_problems(command, [choice, *given]) == []


def test_labels_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    given = ["data=nnunet", "labels=nnunet", f"data.root={nnunet(tmp_path, [])}"]
    problem = f"labels: {tmp_path / 'dataset.json'}: target: x must be one of kidney, tumour"
    assert find_problems("train", [*given, "labels.target=x"]) == [problem]
    (problem,) = find_problems("train", [*given, "data.root=nowhere"])
    assert problem == "labels: nowhere: does not exist; set the folder of a data set in nnU-Net's layout"


def test_zero_and_false_are_values() -> None:
    overrides = ["seed=0", "data.background_keep=0", "data.workers=0", "channels_last=false"]
    overrides += ["loss.batch=false", "optimizer.lr=0"]
    assert find_problems("train", overrides) == []
    cfg = composed(*overrides)
    assert cfg.seed == 0 and cfg.channels_last is False
    data = instantiate(cfg.data, split=None, augmentation=Augmentation([]), seed=cfg.seed)
    assert (data.background_keep, data.workers, data.seed) == (0, 0, 0)
    assert instantiate(cfg.loss).batch is False
    assert instantiate(cfg.optimizer).keywords["lr"] == 0


@pytest.mark.parametrize("model", ["unet3d", "attn_unet3d", "monai_segresnet3d", "monai_dynunet"])
def test_3d_models_map_volumes_to_logits(model: str) -> None:
    cfg = composed(f"model={model}")
    with torch.device("meta"):  # without computing
        net = instantiate(cfg.model)
        assert net(torch.zeros(1, 1, 16, 32, 32)).shape == (1, 3, 16, 32, 32)
    assert all(net.get_submodule(name) for name in cfg.shallow)
    if not model.startswith("monai"):
        flat = composed(f"model={model}", "model.strides=[[1,2,2],[1,2,2],[2,2,2],[2,2,2]]")
        assert instantiate(flat.model).strides[0] == [1, 2, 2]
        plain = composed(f"model={model[:-2]}").model
        assert {k: v for k, v in cfg.model.items() if k not in ("dims", "strides", "kernels")} == plain
        (problem,) = find_problems("train", [f"model={model}", "model.strides=[[4,2,2]]"])
        assert problem.startswith("model.strides=[[4, 2, 2]]: must hold 4 lists of 3 numbers")


def test_finetune_none_is_an_empty_section() -> None:
    assert not composed("finetune=none").finetune
    assert find_problems("train", ["experiment=demo", "finetune=none", "~finetune.epochs"]) == []


def test_experiment_overrides_groups_and_command_line_overrides_both() -> None:
    assert composed("experiment=demo").model.width == 16
    assert composed("experiment=demo", "model.width=8").model.width == 8


def test_runtime_values_of_hydra_are_accepted() -> None:
    assert find_problems("train", ["logger=csv", "name=${hydra:job.name}"]) == []


# ---- single mistakes


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("model=atn_unet", NO_ATN_UNET),
        ("scheduler=x", "scheduler=x: no such choice (cosine, none, plateau, poly)"),
        (
            "logger=null",
            "logger=null: Config group override must be a string or a list. Got NoneType; ~logger omits",
        ),
        (
            "data.background_kep=0.1",
            "data.background_kep: no such key; did you mean data.background_keep?",
        ),
        ("modell=unet", "modell: no such key; did you mean model?"),
        ("background_keep=1", "background_keep: no such key; did you mean data.background_keep?"),
        (
            "data.patch=[16,32,32]",
            "data.patch: no such key here; it belongs to model=attn_unet3d or model=monai_dynunet or "
            "model=monai_segresnet3d or model=unet3d",
        ),
        ("optimizer.momentum=0.9", "optimizer.momentum: no such key here; it belongs to optimizer=sgd"),
        ("window.x=1", "window.x: no such key (high_hu, low_hu, mean_hu, sd_hu)"),
        ("name.x=1", "name.x: no such key"),
        ("paths.outptu=x", "paths.outptu: no such key; did you mean paths.output?"),
        (
            "trainer.max_steps=3",
            "trainer.max_steps: the configuration does not set it; add it with +trainer.max_steps=3",
        ),
        ("+nmae=x", "nmae: no such key; did you mean name?"),
        ("++optimizer.weight_decy=1", "did you mean optimizer.weight_decay?"),
        ("seed=abc", "seed=abc: Value 'abc' of type 'str' could not be converted to Integer"),
        ("seed=-1", "seed=-1: must be at least 0 and below 2**32"),
        ("compile=3.5", "compile=3.5: Value '3.5' is not a valid bool"),
        ("optimizer.lr=abc", "optimizer.lr='abc': must be a valid number"),
        ("data.batch_size=true", "data.batch_size=True: must be a valid integer"),
        ("data.size=2.5", "data.size=2.5: must be a valid integer"),
        ("checkpoint.mode=mn", "checkpoint.mode=mn: must be one of min, max"),
        (
            "checkpoint.monitor=val/tumour_dice",
            "checkpoint.mode=min: would choose the worst val/tumour_dice; set checkpoint.mode=max",
        ),
        ("callbacks.progress=null", "; to omit it: ~callbacks.progress"),
        ("trainer.max_epochs=null", "trainer: lacks max_epochs; start your file with defaults: [auto]"),
        ("checkpoint.monitor=val/los", "checkpoint.monitor=val/los: must be one of val/loss, "),
        ("window.sd_hu=0", "window.sd_hu=0: must be above 0"),
        ("model.width=0", "model.width=0: must be at least 1"),
        ("data.background_keep=2", "data.background_keep=2: must be between 0 and 1"),
        ("optimizer.lr=-1", "optimizer: Invalid learning rate: -1"),
        ("scheduler.factor=2", "scheduler: Factor should be < 1.0."),
        ("finetune.epochs=0", "finetune.epochs=0: must be at least 1"),
        ("finetune.frozen=[encodr]", "finetune.frozen=['encodr']: AttentionUNet has no such layer"),
        ("augmentation.transforms.2.p=2", "augmentation.transforms[2].p=2: Input should be less"),
        (
            "augmentation.transforms=[{_target_:albumentations.HorizontalFlip,pp:1}]",
            "augmentation.transforms[0].pp: albumentations.HorizontalFlip has no such argument",
        ),
        ("trainer.precision=bf16-mixd", "trainer.precision='bf16-mixd': must be 64, 32 or 16"),
        ("+trainer.logger=false", "trainer.logger: the command sets this itself; remove it"),
        ("optimizer._partial_=false", "optimizer._partial_: must be true; the command passes params"),
        ("optimizer._target_=torch.optim.Adm", "torch.optim has no Adm; did you mean torch.optim."),
        (
            "window._target_=kitseg.Window",
            "kitseg.Window: there is no module kitseg; is its package installed?",
        ),
        (
            "window._target_=kitsseg.window.Window",
            "kitsseg.window.Window: moved to kitsseg.models.window.Window",
        ),
        ("window._target_=math.pi", "window._target_: math.pi: not callable"),
        ("split._target_=[a]", "split._target_: expected a dotted path, got ['a']"),
        (
            "~window.sd_hu",
            "window.sd_hu: kitsseg.models.window.Window requires it; add +window.sd_hu=",
        ),
        ("~model", "model: has no value; set it with model=VALUE"),
        ("~seed", "seed: has no value; set it with seed=VALUE"),
        ("data.root=???", "data.root: has no value; set it with data.root=VALUE"),
        ("name=${nosuch}", "name: Interpolation key 'nosuch' not found"),
        (
            "callbacks.progress=null",
            "callbacks.progress: expected a component (a dict with a _targ",
        ),
        ("+model=unet", "+model=unet: Multiple values for model. "),
        ("epochs", "epochs: not an override; write KEY=VALUE"),
        ("seed=[1", "seed=[1: cannot be parsed"),
        ("seed=0,1", "seed=0,1 is a sweep: add -m (or write seed=[0,1] for a list)"),
        ("seed=range(0,3)", "seed=range(0,3) is a sweep: add -m"),
    ],
)
def test_mistake_is_reported_in_one_line(override: str, problem: str) -> None:
    (found,) = find_problems("train", [override])
    assert problem in found
    assert "\n" not in found


def test_broken_value_is_reported_only_at_its_own_key() -> None:
    (found,) = find_problems("train", ["paths.data=${oc.env:KITSSEG_NO_SUCH_VARIABLE}"])
    assert found.startswith("paths.data: ")


def test_optional_lists_are_type_checked() -> None:
    found = find_problems("train", ["shallow=3", "finetune=none"])
    assert found == ["shallow=3: Invalid value assigned: int is not a ListConfig, list or tuple."]


def test_problems_of_a_component_are_in_the_order_of_its_values() -> None:
    names = [f"window.{name}" for name in ("low_hu", "high_hu", "mean_hu", "sd_hu")]
    found = find_problems("train", [f"{name}=x" for name in names])
    assert [problem.partition("=")[0] for problem in found] == names


def test_nested_component_is_checked() -> None:
    (found,) = find_problems("train", ["loss=dice_ce", "+loss.dice.bacth=true"])
    assert found == f"{NO_BATCH}.batch?"
    (found,) = find_problems("train", ["loss=dice_ce", "loss.dice.smooth=0"])
    assert found.startswith("loss.dice.smooth=0: must be above 0")


# ---- output


def test_problems_go_to_stderr_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        check_command_line("train", ["window.sd_hu=0", "loss.smooth=0"])
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "kitsseg.train: window.sd_hu=0: must be above 0",
        "kitsseg.train: loss.smooth=0: must be above 0, or an absent class gives 0 / 0",
    ]


@pytest.mark.parametrize(
    "flag", [["--help"], ["-h"], ["--cfg", "job"], ["--info", "all"], ["--config-name", "x"]]
)
def test_flags_that_only_print_are_not_checked(flag: list[str]) -> None:
    check_command_line("train", [*flag, "seed=x"])


# ---- YAML files of the user


def experiment(folder: Path, text: str) -> list[str]:
    """Return the problems of an experiment file."""
    (folder / "experiment").mkdir()
    (folder / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{text}")
    return find_problems("train", ["experiment=mine"], config_dir=str(folder))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nmae: x\n", "nmae"),
        ("seed: abc\n", "Value 'abc' of type 'str' could not be converted to Integer"),
        ("data: {bach_size: 3}\n", "data.bach_size: kitsseg.data.slices.datamodule.SliceDataModule has"),
        ("data: {bach_size: 3}\n", "did you mean data.batch_size?"),
        ("finetune: {lr: 0}\n", "finetune.lr=0: must be above 0"),
        ("name: [", "while parsing a flow node"),
        ("defaults:\n- override /model: unt\n", "mine: model=unt: no such choice; did you mean unet?"),
        ("defaults:\n- override /modl: unet\n", "Could not override 'modl'"),
    ],
)
def test_mistake_in_an_experiment_file_is_reported_in_one_line(
    tmp_path: Path, text: str, problem: str
) -> None:
    (found,) = experiment(tmp_path, text)
    assert problem in found and "\n" not in found


def test_missing_config_folder_is_reported() -> None:
    (found,) = find_problems("train", [], config_dir="nosuch")
    assert found == "--config-dir nosuch: no such folder"


@pytest.mark.parametrize("command", [["train", "--help"], ["verify", "root=.", "workers=1"]])
def test_nothing_is_printed_if_the_reader_of_the_output_has_ended(
    command: list[str], blocks: Path
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    line = [sys.executable, "-m", f"kitsseg.{command[0]}", *command[1:]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, cwd=blocks, env=environment, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")
