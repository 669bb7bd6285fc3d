"""Folder names, type checks and instantiation of components."""

import hashlib
from typing import Any, Literal

import pytest
import torch
from omegaconf import OmegaConf

from kitsseg.config.components import instantiate, mismatch
from kitsseg.data.split import Split
from kitsseg.jobs.sweep import folder_name


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ("model-unet+seed-1", "model-unet+seed-1"),
        ("", "default"),
        ("data.exclude=[a b/ç]", "data.exclude-a-b--82f951bc"),
        ("x" * 121, f"{'x' * 111}-{hashlib.sha256(b'x' * 121).hexdigest()[:8]}"),
    ],
)
def test_folder_name(overrides: str, name: str) -> None:
    assert folder_name(overrides) == name
    assert OmegaConf.create({"a": overrides, "b": "${job_folder:${a}}"}).b == name


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, float, True),
        (True, float, False),
        (True, int, False),
        (0, bool, False),
        (None, int | None, True),
        ("a", Literal["a", 1], True),
        ([1, 2.5], tuple[float, float], True),
        ([1], tuple[float, float], False),
        ([1, "a"], list[float], False),
        ("ab", list[str], False),
        ({"x": [1, "a"]}, dict[str, list[int]], False),
        ("abc", float | torch.Tensor, False),
        ({"_target_": "a.B"}, float, True),
    ],
)
def test_value_types_are_checked(value: Any, hint: Any, expected: bool) -> None:
    assert (mismatch(value, hint) == "") is expected


def test_instantiate_passes_objects_unchanged() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    cfg = OmegaConf.create({"_target_": "torch.optim.Adam", "_partial_": True, "lr": 1.0})
    optimizer = instantiate(cfg, lr=0.25)([parameter])
    assert optimizer.param_groups[0]["params"][0] is parameter
    assert optimizer.param_groups[0]["lr"] == 0.25
    split = Split(["a"], ["b"])  # a dataclass, which hydra.utils.instantiate would convert to a dict
    whole = instantiate({"_target_": "builtins.dict", "a": [{"b": 1}]}, c=split)
    assert whole["c"] is split and type(whole["a"][0]) is dict


def test_a_value_for_an_argument_that_is_a_component() -> None:
    assert mismatch("relu", torch.nn.Module) == "must be a component that builds a Module"
