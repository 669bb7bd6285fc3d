"""Stage two: frozen layers and their norms do not change, all other weights do."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from kitsseg.data.case import Case
from kitsseg.models.unet import AttentionUNet, UNet
from kitsseg.training.experiment import with_rate
from kitsseg.training.finetune import FineTune, check_frozen
from tests.helpers.parts import make_data, make_task


def test_frozen_parameters_and_norm_statistics_are_bit_equal(
    block_cases: list[Case], tmp_path: Path
) -> None:
    data = make_data(block_cases[0].image.parent.parent, tmp_path).for_target_slices()
    net = AttentionUNet(width=4, depth=2)
    frozen = FineTune(["encoder", "bottleneck"], epochs=2, lr=1e-2).freeze(net)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=2,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(make_task(net, frozen=frozen, lr=1e-2), datamodule=data)
    moved = {k for k, v in net.state_dict().items() if not torch.equal(v, before[k])}
    shallow = {k for k in before if k.startswith(("encoder.", "bottleneck."))}
    assert any("running_mean" in k for k in shallow)
    assert not moved & shallow
    assert moved == set(before) - shallow  # decoder, gates, head and their norm statistics


def test_frozen_norms_stay_in_evaluation_mode_after_every_train_call() -> None:
    net = UNet(width=4, depth=2)
    task = make_task(net, frozen=FineTune(["encoder"], 1, 1e-3).freeze(net))
    for _ in range(2):
        task.eval()
        task.train()
        assert not any(m.training for m in net.encoder.modules())
        assert net.decoder.training and net.decoder[0][1].training


def test_only_tumour_slices_train(block_cases: list[Case], tmp_path: Path) -> None:
    data = make_data(block_cases[0].image.parent.parent, tmp_path)
    tumour = data.for_target_slices()
    rows = tumour.rows(0)
    assert len(rows) == 2 * len(data.split.train)  # two slices per case
    assert data.store.index.contains([2])[rows].all()
    assert set(data.store.index.case[rows]) <= set(data.store.index.case[data.train_rows])
    assert len(data.rows(0)) > len(rows)  # the original is unchanged
    assert len(tumour.val_dataloader()) == len(data.val_dataloader())  # validation uses all slices


def test_tumour_repeat_repeats_tumour_slices(block_cases: list[Case], tmp_path: Path) -> None:
    data = make_data(block_cases[0].image.parent.parent, tmp_path, background_keep=0, target_repeat=3)
    rows, times = np.unique(data.rows(0), return_counts=True)
    tumour = data.store.index.contains([2])[rows]
    assert times[tumour].tolist() == [3] * 8 and times[~tumour].tolist() == [1] * 4


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: FineTune(["a"], epochs=0, lr=1e-4), "epochs=0: must be at least 1"),
        (lambda: FineTune(["a"], epochs=1, lr=0.0), "lr=0.0: must be above 0"),
        (lambda: check_frozen(UNet(width=4), []), "names no layers.*encoder, bottleneck"),
        (lambda: check_frozen(UNet(width=4), ["enc"]), "UNet has no such layers; it has encoder"),
        (
            lambda: check_frozen(UNet(width=4), [n for n, _ in UNet(width=4).named_children()]),
            "leaves no parameter to train",
        ),
    ],
)
def test_invalid_settings_raise(make: object, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()  # type: ignore[operator]


def test_one_cycle_does_not_replace_the_rate_of_stage_two() -> None:
    """Its ``max_lr`` would be that of stage one."""
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1e-4)
    one_cycle = partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=1e-2, total_steps=10)
    scheduler = with_rate(one_cycle, 1e-4)(optimizer)
    assert max(group["max_lr"] for group in scheduler.optimizer.param_groups) == 1e-4
    plateau = partial(torch.optim.lr_scheduler.ReduceLROnPlateau, factor=0.5)
    assert with_rate(plateau, 1e-4) is plateau
