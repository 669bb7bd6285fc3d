"""The losses equal values computed by hand and those of MONAI."""

import pytest
import torch
from monai.losses import DiceLoss
from torch import nn
from torch.nn import functional as F

from kitsseg.data.slices.label_pooling import shrink_label
from kitsseg.training.losses import (
    DiceCrossEntropy,
    Loss,
    SliceMean,
    SorensenDice,
    dice_from_terms,
    dice_terms,
)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(4, 3, 8, 10, generator=generator)
    target = torch.randint(0, 3, (4, 8, 10), generator=generator, dtype=torch.uint8)
    return logits, target


def test_equation_1_by_hand() -> None:
    # One class, four pixels: p = (0.8, 0.4, 0.2, 0), g = (1, 1, 0, 0).
    # 2 (0.8 + 0.4) / (0.64 + 0.16 + 0.04 + 2) = 2.4 / 2.84
    p = torch.tensor([[[[0.8, 0.4], [0.2, 0.0]]]])
    g = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])
    terms = dice_terms(p, g)
    torch.testing.assert_close(terms, torch.tensor([[[1.2, 0.84, 2.0]]]))
    assert dice_from_terms(terms, smooth=1e-12).item() == pytest.approx(2.4 / 2.84)


def test_denominator_is_squared() -> None:
    # p = 0.5 everywhere, g = 1: squared 2 * 0.5 / (0.25 + 1) = 0.8; unsquared would be 2/3.
    p, g = torch.full((1, 1, 5, 5), 0.5), torch.ones(1, 1, 5, 5)
    assert dice_from_terms(dice_terms(p, g)).item() == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize("batchwise", [True, False])
@pytest.mark.parametrize("background", [True, False])
def test_loss_equals_that_of_monai(
    batch: tuple[torch.Tensor, torch.Tensor], batchwise: bool, background: bool
) -> None:
    logits, target = batch
    theirs = DiceLoss(
        include_background=background,
        to_onehot_y=True,
        softmax=True,
        squared_pred=True,
        batch=batchwise,
        smooth_nr=1e-5,
        smooth_dr=1e-5,
    )
    ours = SorensenDice(batch=batchwise, background=background)
    assert ours(logits, target).item() == pytest.approx(
        theirs(logits, target[:, None].long()).item(), abs=1e-6
    )


def test_loss_of_perfect_and_empty_predictions() -> None:
    target = torch.zeros(2, 4, 4, dtype=torch.uint8)
    sure = F.one_hot(target.long(), 3).movedim(-1, 1) * 1000.0
    assert SorensenDice()(sure, target).item() == 0  # absent and not predicted: Dice 1
    target[0, 0] = 2
    assert SorensenDice()(sure, target).item() == pytest.approx(0.5, abs=1e-5)  # tumour missed


def test_regions_are_sums_of_classes() -> None:
    logits, target = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    p = logits.softmax(1)
    expected = []
    for truth, share in ((target == 0, p[:, 0]), (target > 0, p[:, 1:].sum(1)), (target == 2, p[:, 2])):
        g = truth.float()
        expected.append(1 - 2 * (share * g).sum() / ((share**2).sum() + g.sum()))
    found = SorensenDice(regions=[[1, 2], [2]], background=True)(logits, target)
    torch.testing.assert_close(found, torch.stack(expected).mean(), rtol=1e-5, atol=1e-5)
    classes = SorensenDice(regions=[[1], [2]])(logits, target)
    assert classes == SorensenDice()(logits, target)
    with pytest.raises(ValueError, match="there are 3 classes"):
        SorensenDice(regions=[[3]])(logits, target)


def test_dice_cross_entropy_is_the_weighted_sum(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, target = batch
    expected = 0.5 * F.cross_entropy(logits, target.long()) + 2 * SorensenDice()(logits, target)
    ours = DiceCrossEntropy(dice_weight=2, ce_weight=0.5)(logits, target)
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize(
    "loss",
    [
        SorensenDice(),
        SorensenDice(batch=False, background=True),
        DiceCrossEntropy(),
        SliceMean(DiceLoss(to_onehot_y=True, softmax=True), channel=True),
        SliceMean(nn.CrossEntropyLoss()),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_terms_are_additive(batch: tuple[torch.Tensor, torch.Tensor], loss: Loss) -> None:
    """The loss of a batch equals the reduction of the summed terms of its parts."""
    logits, target = batch
    whole = loss(logits, target)
    for cut in (1, 3):
        parts = [loss.terms(logits[s], target[s]).sum(0) for s in (slice(cut), slice(cut, None))]
        torch.testing.assert_close(loss.reduce(sum(parts)), whole)


def test_half_precision_is_computed_in_float32() -> None:
    # 512 x 512 sums overflow 16 bits: 262144 > 65504.
    logits = torch.zeros(1, 3, 512, 512, dtype=torch.float16)
    logits[:, 1] = 20
    target = torch.ones(1, 512, 512, dtype=torch.uint8)
    with torch.autocast("cpu", torch.bfloat16):
        loss = SorensenDice()(logits, target)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(0.0, abs=1e-4)


def test_gradient_is_exact() -> None:
    logits = torch.randn(2, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 3, (2, 3, 3))

    def loss(x: torch.Tensor) -> torch.Tensor:
        module = SorensenDice()
        return module.reduce(module.terms(x, target).sum(0))

    assert torch.autograd.gradcheck(loss, (logits,))


def test_deep_supervision_halves_the_weight_per_level(
    batch: tuple[torch.Tensor, torch.Tensor],
) -> None:
    logits, target = batch
    coarse = logits[:, :, ::2, ::2] * 0.3
    for loss in (SorensenDice(), DiceCrossEntropy()):
        # (1 a + 1/2 b) / (1 + 1/2)
        expected = (2 * loss(logits, target) + loss(coarse, shrink_label(target, 2))) / 3
        torch.testing.assert_close(loss([logits, coarse], target), expected)
        torch.testing.assert_close(loss([logits], target), loss(logits, target))


@pytest.mark.parametrize("loss", [SorensenDice(), SorensenDice(batch=False), DiceCrossEntropy()])
def test_loss_of_patches_is_that_of_slices_with_the_same_voxels(loss: Loss) -> None:
    logits = torch.randn(2, 3, 4, 8, 10)
    target = torch.randint(0, 3, (2, 4, 8, 10), dtype=torch.uint8)
    expected = loss(logits.flatten(2, 3), target.flatten(1, 2))
    torch.testing.assert_close(loss(logits, target), expected)
    each = SliceMean(loss)(logits, target)
    torch.testing.assert_close(each, (loss(logits[:1], target[:1]) + loss(logits[1:], target[1:])) / 2)


def test_deep_supervision_of_levels_with_different_strides_per_axis() -> None:
    logits = [torch.randn(2, 3, *side) for side in ((4, 8, 12), (4, 4, 6), (2, 2, 6))]
    target = torch.randint(0, 3, (2, 4, 8, 12), dtype=torch.uint8)
    loss = SorensenDice()
    labels = [target, shrink_label(target, [1, 2, 2]), shrink_label(target, [2, 4, 2])]
    a, b, c = (loss(*each) for each in zip(logits, labels, strict=True))
    torch.testing.assert_close(loss(logits, target), (4 * a + 2 * b + c) / 7)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: SorensenDice(smooth=0), "smooth=0: must be above 0"),
        (lambda: SorensenDice(regions=[[0, 1]]), "must hold lists of different class ids above 0"),
        (lambda: SorensenDice(regions=[[]]), "must hold lists of different class ids above 0"),
        (lambda: DiceCrossEntropy(dice_weight=0, ce_weight=0), "one must be above 0"),
        (lambda: DiceCrossEntropy(ce_weight=-1), "must not be negative, and one"),
    ],
)
def test_values_out_of_range_raise(make: object, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()  # type: ignore[operator]
