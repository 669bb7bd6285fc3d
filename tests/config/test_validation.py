"""A mistyped key or value is refused before anything runs, all of them at once, a line each."""

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from kitsseg.config.components import instantiate
from kitsseg.config.validation import CONFIG_DIR, validate
from tests.helpers.commands import check_command_line, find_problems

# base.yaml holds what the others share; it is no choice of its own. `postprocess` is no part of
# training.
SHIPPED = sorted(
    f"{path.parent.name}={path.stem}"
    for path in CONFIG_DIR.glob("*/*.yaml")
    if path.stem != "base" and path.parent.name != "postprocess"
)
NO_ATN_UNET = (
    "model=atn_unet: there's no such choice; did you mean attn_unet? "
    "(attn_unet, monai_attention_unet, monai_basic_unet, monai_segresnet, unet)"
)
NO_BATCH = (
    "loss.dice.bacth: kitsseg.training.losses.SorensenDice has no such argument; did you mean loss.dice"
)
NO_GATE = (
    "model.gate_ratio: no such key (class_prior, classes, depth, dropout, in_channels, norm, "
    "supervised, up, width) "
)
BUILT: dict[str, Any] = {}  # shared, as the jobs of a sweep share theirs


def composed(*overrides: str, command: str = "train") -> DictConfig:
    """What `hydra.main` would hand to the command."""
    with initialize_config_dir(config_dir=str(CONFIG_DIR), version_base="1.3"):
        return compose(command, list(overrides))


# ---- what is right


@pytest.mark.parametrize("choice", SHIPPED)
def test_every_shipped_choice_is_valid(choice: str) -> None:
    command, given = ("verify", ["root=."]) if choice.startswith("source=") else ("train", [])
    assert validate(composed(choice, *given, command=command), command, BUILT) == []


def test_zero_and_false_are_values() -> None:
    overrides = ["seed=0", "data.background_keep=0", "data.workers=0", "channels_last=false"]
    cfg = composed(*overrides, "loss.batch=false", "optimizer.lr=0")
    assert validate(cfg) == []
    assert cfg.seed == 0 and cfg.channels_last is False
    data = instantiate(cfg.data, split=None, augmentation=None, seed=cfg.seed)
    assert (data.background_keep, data.workers, data.seed) == (0, 0, 0)
    assert instantiate(cfg.loss).batch is False
    assert instantiate(cfg.optimizer).keywords["lr"] == 0


def test_no_finetuning_is_an_empty_section() -> None:
    assert not composed("finetune=none").finetune
    assert find_problems("train", ["experiment=demo", "finetune=none", "~finetune.epochs"]) == []


def test_an_experiment_beats_the_groups_and_the_command_line_beats_both() -> None:
    assert composed("experiment=demo").model.width == 16
    assert composed("experiment=demo", "model.width=8").model.width == 8


def test_hydras_run_time_values_are_left_alone() -> None:
    assert validate(composed("logger=csv", "name=${hydra:job.name}")) == []


# ---- what is wrong, one by one


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("model=atn_unet", NO_ATN_UNET),
        ("scheduler=x", "scheduler=x: there's no such choice (cosine, none, plateau)"),
        (
            "logger=null",
            "logger=null: there's no such choice (csv, mlflow, none, tensorboard, wandb); ~logger ",
        ),
        (
            "data.background_kep=0.1",
            "data.background_kep: no such key; did you mean data.background_keep?",
        ),
        ("modell=unet", "modell: no such key; did you mean model?"),
        ("background_keep=1", "background_keep: no such key; did you mean data.background_keep?"),
        ("window.x=1", "window.x: no such key (high_hu, low_hu, mean_hu, sd_hu)"),
        ("name.x=1", "name.x: no such key; name is a value"),
        ("paths.outptu=x", "paths.outptu: no such key; did you mean paths.output?"),
        (
            "trainer.max_steps=3",
            "trainer.max_steps: the config doesn't set it; add it with +trainer.max_steps=3",
        ),
        ("+nmae=x", "nmae: no such key; did you mean name?"),
        ("++optimizer.weight_decy=1", "did you mean optimizer.weight_decay?"),
        ("seed=abc", "seed: expected int, got 'abc'"),
        ("seed=-1", "seed: -1 must lie in [0, 2**32)"),
        ("compile=3.5", "compile: expected bool or null, got 3.5"),
        ("optimizer.lr=abc", "optimizer.lr: expected float, got 'abc'"),
        ("data.batch_size=true", "data.batch_size: expected int, got True"),
        ("data.size=2.5", "data.size: expected int or null, got 2.5"),
        ("checkpoint.mode=mn", "checkpoint.mode: mn must be one of min, max"),
        ("checkpoint.monitor=val/los", "checkpoint.monitor: val/los must be one of val/loss, "),
        ("window.sd_hu=0", "window: sd_hu=0 must be above 0"),
        ("model.width=0", "model: width=0 must be at least 1"),
        ("data.background_keep=2", "data: background_keep=2 must lie in [0, 1]"),
        ("optimizer.lr=-1", "optimizer: Invalid learning rate: -1"),
        ("scheduler.factor=2", "scheduler: Factor should be < 1.0."),
        ("finetune.epochs=0", "finetune: epochs=0 must be at least 1"),
        ("finetune.frozen=[encodr]", "finetune.frozen=['encodr']: AttentionUNet has no such layer"),
        ("augmentation.transforms.2.p=2", "augmentation.transforms[2]: p=2: Input should be less"),
        (
            "augmentation.transforms=[{_target_:albumentations.HorizontalFlip,pp:1}]",
            "augmentation.transforms[0].pp: albumentations.HorizontalFlip has no such argument",
        ),
        ("trainer.precision=bf16-mixd", "or 'auto', got 'bf16-mixd'"),
        ("+trainer.logger=false", "trainer.logger: the command gives this itself; remove it"),
        ("optimizer._partial_=false", "optimizer._partial_: must be true; params is known only at"),
        ("optimizer._target_=torch.optim.Adm", "torch.optim has no Adm; did you mean torch.optim."),
        ("window._target_=kitseg.Window", "there's no package kitseg; is it installed?"),
        ("window._target_=math.pi", "window._target_: math.pi: can't be called"),
        ("split._target_=[a]", "split._target_: expected a dotted path, got ['a']"),
        (
            "~window.sd_hu",
            "window.sd_hu: kitsseg.models.window.Window requires it; give it with +window.s",
        ),
        ("~model", "model: has no value; give it one with model=VALUE"),
        ("~seed", "seed: is missing; give it with seed=VALUE"),
        ("data.root=???", "data.root: has no value; give it one with data.root=VALUE"),
        ("name=${nosuch}", "name: ${nosuch}: Interpolation key 'nosuch' not found"),
        (
            "callbacks.progress=null",
            "callbacks.progress: expected a component (a dict with a _targ",
        ),
        ("+model=unet", "+model=unet: Multiple values for model. "),
        ("epochs", "epochs: can't be read as an override; write KEY=VALUE"),
        ("seed=[1", "seed=[1: can't be read as an override"),
        ("seed=0,1", "seed=0,1 is a sweep: add -m (or write seed=[0,1] for a list)"),
        ("seed=range(0,3)", "seed=range(0,3) is a sweep: add -m"),
    ],
)
def test_one_mistake_is_one_line(override: str, problem: str) -> None:
    (found,) = find_problems("train", [override])
    assert problem in found
    assert "\n" not in found


def test_a_broken_value_is_reported_where_it_is_broken_only() -> None:
    (found,) = find_problems("train", ["paths.data=${oc.env:KITSSEG_NO_SUCH_VARIABLE}"])
    assert found.startswith("paths.data: ")


def test_optional_lists_are_typed() -> None:
    found = find_problems("train", ["shallow=3", "finetune=none"])
    assert found == ["shallow: expected list[str] or null, got 3"]


def test_a_component_within_a_component_is_checked() -> None:
    (found,) = find_problems("train", ["loss=dice_ce", "+loss.dice.bacth=true"])
    assert found == f"{NO_BATCH}.batch?"
    (found,) = find_problems("train", ["loss=dice_ce", "loss.dice.smooth=0"])
    assert found.startswith("loss.dice: smooth=0 must be above 0")


# ---- several at once


def test_all_problems_at_once() -> None:
    overrides = ["model=unt", "model.widht=3", "data.bach_size=2", "seed=x", "+typo=1", "a=="]
    found = [problem.split(":")[0] for problem in find_problems("train", overrides)]
    assert sorted(found) == sorted(["model=unt", "model.widht", "data.bach_size", "seed", "typo", "a=="])


def test_the_keys_of_an_unknown_choice_are_not_held_against_another() -> None:
    (found,) = find_problems("train", ["model=resnet", "model.blocks=3"])
    assert found.startswith("model=resnet: ")


def test_the_list_goes_to_stderr_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        check_command_line("train", ["seed=x", "model=unt", "window.sd_hu=0"])
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    first, *rest = err.splitlines()
    assert first == "kitsseg.train: 3 problems"
    assert len(rest) == 3 and all(line.startswith("  - ") for line in rest)


def test_a_single_problem_is_a_single_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        check_command_line("train", ["seed=x"])
    assert capsys.readouterr().err == "kitsseg.train: seed: expected int, got 'x'\n"


@pytest.mark.parametrize(
    "flag", [["--help"], ["-h"], ["--cfg", "job"], ["--info", "all"], ["--config-name", "x"]]
)
def test_what_only_shows_something_is_left_to_hydra(flag: list[str]) -> None:
    check_command_line("train", [*flag, "seed=x"])


# ---- YAML files of the user's


def test_mistakes_in_an_experiment_file_are_found(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\nnmae: x\nseed: abc\ndata: {bach_size: 3}\nfinetune: {lr: 0}\n"
    )
    found = find_problems("train", ["experiment=mine"], config_dir=str(tmp_path))
    *rest, last = found
    assert rest == [
        "seed: expected int, got 'abc'",
        "nmae: no such key; did you mean name?",
        "finetune: lr=0 must be above 0",
    ]
    assert last.startswith("data.bach_size: kitsseg.data.slices.datamodule.SliceDataModule has no such")
    assert last.endswith("did you mean data.batch_size?")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name: [", "while parsing a flow node"),
        ("defaults:\n- override /model: unt\n", "Could not find 'model/unt'"),
        ("defaults:\n- override /modl: unet\n", "Could not override 'modl'"),
    ],
)
def test_a_file_that_hydra_cannot_use(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "bad.yaml").write_text(f"# @package _global_\n{text}")
    found = find_problems("train", ["experiment=bad", "seed=-1"], config_dir=str(tmp_path))
    assert len(found) == 2
    assert found[0].startswith("experiment=bad: ") and problem in found[0]


def test_a_config_folder_that_is_not_there() -> None:
    (found,) = find_problems("train", [], config_dir="nosuch")
    assert found == "--config-dir nosuch: there's no such folder"
