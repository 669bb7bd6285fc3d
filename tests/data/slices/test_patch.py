"""Patches: what they show, where they lie, and that image and mask stay together."""

import numpy as np
import pytest

from kitsseg.data.labels import AIR_HU
from kitsseg.data.slices.augment import Augmentation
from kitsseg.data.slices.patch import RandomPatch


def slice_with_tumour() -> tuple[np.ndarray, np.ndarray]:
    """128 x 128: a body with two kidneys, in one of them a tumour of four pixels; every pixel its HU."""
    image = np.full((128, 128), AIR_HU, np.int16)
    image[20:110, 10:120] = np.arange(90 * 110).reshape(90, 110)
    label = np.zeros((128, 128), np.uint8)
    label[60:80, 30:45] = label[60:80, 85:100] = 1
    label[70:72, 90:92] = 2
    return image[None], label


def patches(patch: RandomPatch, count: int = 60) -> list[tuple[np.ndarray, np.ndarray]]:
    chain, (image, label) = Augmentation([patch]), slice_with_tumour()
    return [chain(image, label, (0, 0, position)) for position in range(count)]


def corner(image: np.ndarray) -> tuple[int, int]:
    """Where an unturned patch lies, by one of its pixels of the body, whose HU counts them."""
    row, column = (int(found[0]) for found in np.nonzero(image != AIR_HU))
    y, x = divmod(int(image[row, column]), 110)
    return 20 + y - row, 10 + x - column


def test_unturned_it_is_a_piece_of_the_slice() -> None:
    image, label = (np.pad(a, 64, constant_values=f) for a, f in zip(
        (slice_with_tumour()[0][0], slice_with_tumour()[1]), (AIR_HU, 0), strict=True))  # fmt: skip
    corners = set()
    for patch, mask in patches(RandomPatch(0.5, target=0, foreground=0)):
        assert patch.shape == (1, 64, 64) and patch.dtype == np.int16 and mask.dtype == np.uint8
        y, x = corner(patch[0])
        corners.add((y, x))
        assert np.array_equal(patch[0], image[64 + y : 128 + y, 64 + x : 128 + x])
        assert np.array_equal(mask, label[64 + y : 128 + y, 64 + x : 128 + x])
    assert len(corners) > 50


def test_it_lies_round_what_it_is_to_show() -> None:
    seen = [(mask == 2).any() for _, mask in patches(RandomPatch(0.5, target=1, foreground=0))]
    assert all(seen)
    kidneys = [mask.any() for _, mask in patches(RandomPatch(0.25, target=0, foreground=1))]
    assert all(kidneys)
    # One half of the patches, and those of the others that hit a kidney of the body by chance.
    some = [mask.any() for _, mask in patches(RandomPatch(0.25, target=0, foreground=0.5))]
    assert 30 < sum(some) < 60


def test_without_tumour_it_takes_the_kidney_and_without_a_body_the_middle() -> None:
    chain = Augmentation([RandomPatch(0.25, target=1, foreground=0)])
    image, label = slice_with_tumour()
    label[label == 2] = 1
    assert all(chain(image, label, (0, 0, i))[1].any() for i in range(40))
    air = np.full_like(image, AIR_HU)
    patch, mask = chain(air, np.zeros_like(label), (0, 0, 0))
    assert patch.shape == (1, 32, 32) and (patch == AIR_HU).all() and not mask.any()


def test_turned_and_scaled_image_and_mask_stay_together() -> None:
    chain = Augmentation([RandomPatch(0.5, rotate=(-40, 40), scale=(0.7, 1.4))])
    _, label = slice_with_tumour()
    image = np.where(label > 0, 100, 0).astype(np.int16)[None]
    for position in range(20):
        patch, mask = chain(image, label, (0, 0, position))
        inside = patch[0] != AIR_HU
        wrong = (patch[0] >= 50) != (mask > 0)
        assert wrong[inside].mean() < 0.02  # pixels that the border runs through


def test_a_quarter_turn_and_twice_the_size_by_hand() -> None:
    image, label = slice_with_tumour()
    turned = RandomPatch(0.5, rotate=(90, 90))
    upright = RandomPatch(0.5)
    for position in range(5):
        a, b = (Augmentation([t])(image, label, (0, 0, position))[1] for t in (turned, upright))
        # About pixel (32, 32), which a turn of an even number of pixels doesn't keep in the middle.
        assert np.array_equal(a[1:, 1:], np.rot90(b[1:, 1:])) or np.array_equal(
            a[1:, 1:], np.rot90(b[1:, 1:], -1)
        )
    large, small = (
        Augmentation([RandomPatch(0.5, 1, 0, scale=(s, s))])(image, label, (0, 0, 0))[1] for s in (2, 1)
    )
    assert (large == 2).sum() == 16 and (small == 2).sum() == 4


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_all_channels_move_alike(channels: int) -> None:
    image, label = slice_with_tumour()
    chain = Augmentation([RandomPatch(0.5, rotate=(-20, 20))])
    patch, _ = chain(np.repeat(image, channels, 0), label, (0, 0, 1))
    assert patch.shape == (channels, 64, 64)
    assert all(np.array_equal(patch[0], plane) for plane in patch)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"share": 0}, r"share=0: must be in \(0, 1\]"),
        ({"share": 1.5}, r"share=1.5: must be in \(0, 1\]"),
        (
            {"target": 0.7, "foreground": 0.7},
            "target=0.7, foreground=0.7: must be at least 0, and their sum",
        ),
        ({"foreground": -0.1}, "foreground=-0.1: must be at least 0"),
        ({"rotate": (5, -5)}, r"rotate=\[5, -5\]: must be in ascending order"),
        ({"scale": (0, 1)}, r"scale=\[0, 1\]: must be above 0"),
    ],
)
def test_values_out_of_range(arguments: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RandomPatch(**arguments)
