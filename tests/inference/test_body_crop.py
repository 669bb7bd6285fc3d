"""Tests of finding the body and cropping slices to it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.networks.nets import AttentionUnet, BasicUNet, SegResNet
from monai.networks.nets import UNet as MonaiUNet
from torch import Tensor, nn

from kitsseg.data.store.grid import Grid
from kitsseg.inference import body_crop
from kitsseg.inference.body_crop import View, crop_on_stored_grid
from kitsseg.inference.checkpoint import is_local
from kitsseg.inference.segmenter import Segmenter
from kitsseg.models.unet import UNet
from tests.inference.test_segmenter import Constant, make, member
from tests.inference.test_slicewise import Threshold, expected


@pytest.mark.parametrize(
    ("body", "native", "size", "margin", "part"),
    [
        # 80 to 135 of 200 is 40 to 67.5 of 100, grown to multiples of 32 as far as there are any.
        ((slice(80, 135), slice(0, 200)), (200, 200), 100, 0, (slice(32, 96), slice(0, 100))),
        ((slice(80, 135), slice(0, 200)), (200, 200), 100, 9, (slice(0, 96), slice(0, 100))),
        ((slice(0, 10), slice(190, 200)), (200, 200), 200, 8, (slice(0, 32), slice(160, 200))),
        # A wide slice lies 50 pixels below the top of its square.
        ((slice(0, 64), slice(64, 128)), (100, 200), 200, 0, (slice(32, 128), slice(64, 128))),
        ((slice(0, 64), slice(64, 128)), (100, 200), None, 0, (slice(0, 64), slice(64, 128))),
        ((slice(0, 64), slice(65, 128)), (100, 200), None, 40, (slice(0, 100), slice(0, 192))),
    ],
)
def test_the_part_that_networks_see(
    body: tuple[slice, slice], native: tuple[int, int], size: int | None, margin: int,
    part: tuple[slice, slice],
) -> None:  # fmt: skip
    assert crop_on_stored_grid(body, Grid(native, size), margin) == part


def test_what_is_not_seen_is_background() -> None:
    grid = Grid((64, 64), None)
    view = View(None, grid, (slice(32, 64), slice(0, 32)))
    likely = torch.full((2, 3, 32, 32), 1 / 3)
    whole = view.uncrop(likely)
    assert torch.equal(whole[:, :, 32:, :32], likely) and whole.shape == (2, 3, 64, 64)
    assert (whole[:, 0, :32] == 1).all() and (whole[:, 1:, :32] == 0).all() and (whole.sum(1) == 1).all()
    assert View(None, grid, None).uncrop(likely) is likely


@pytest.mark.parametrize("size", [None, 64])
def test_cropping_shows_the_networks_the_body_alone(size: int | None) -> None:
    class Shape(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            shapes.append(tuple(image.shape[2:]))
            return Threshold()(image)

    shapes: list[tuple[int, ...]] = []
    image = np.full((3, 128, 128), -1000, np.int16)
    image[:, 60:70, 60:70] = 150
    image[1, 60:65, 60:64] = 50
    whole, cropped = (make(member(Shape(), size), crop=crop)(image) for crop in (False, True))
    side = 128 if size is None else size
    # 60 to 70 of 128 and 16 round it is 44 to 86; 30 to 35 of 64 is 14 to 51.
    assert shapes == [(side, side), (64, 64)]
    assert np.array_equal(whole, cropped)
    if size is None:
        assert np.array_equal(whole, expected(image))


def test_beyond_what_a_network_sees_cropping_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # A pixel's logits follow from 22 pixels in every direction. With parts that began anywhere, the
    # network would halve other pairs of pixels.
    monkeypatch.setattr(body_crop, "MARGIN", 22)
    torch.manual_seed(0)
    net = UNet(width=4, depth=2).eval()
    rng = np.random.default_rng(0)
    image = np.full((2, 192, 192), -1000, np.int16)
    image[:, 71:101, 57:90] = rng.integers(-400, 400, (2, 30, 33))
    labels = [make(member(net), crop=crop)(image)[:, 71:101, 57:90] for crop in (False, True)]
    assert len(np.unique(labels[0])) > 1
    assert np.array_equal(*labels)


def test_networks_are_cropped_that_are_known_to_see_only_what_is_near() -> None:
    nets = [UNet(width=4, norm=norm) for norm in ("batch", "none", "instance", "group")]
    nets += [AttentionUnet(2, 1, 3, (4, 8), (2,)), SegResNet(2, 8), Constant(1, 0, 0)]
    nets.append(BasicUNet(2, 1, 3, (8,) * 6, norm="batch"))
    nets.append(MonaiUNet(2, 1, 3, (4, 8), (2,), norm="batch"))
    # MONAI's attention U-Net has an instance norm where it merges; others of MONAI's aren't known.
    assert [is_local(net) for net in nets] == [True, True, *[False] * 5, True, False]
    cropped, whole = (replace(member(nets[0]), local=local) for local in (True, False))
    assert make(cropped).crop and not make(whole).crop and not make(cropped, crop=False).crop
    assert not Segmenter([cropped, whole]).crop and Segmenter([whole], crop=True).crop


def test_probabilities_beside_the_body_are_those_of_background() -> None:
    image = np.full((2, 256, 256), -1000, np.int16)
    image[0, 100:110, 100:110] = 0
    made = make(member(Constant(0.1, 0.8, 0.1)), crop=True).segment(image, (1, 1, 1), ("kidney",))
    rows, columns = crop_on_stored_grid(
        (slice(100, 110), slice(100, 110)), Grid((256, 256), None), body_crop.MARGIN
    )
    wanted = np.zeros(image.shape, np.uint8)
    wanted[0, rows, columns] = round(0.9 * 255)
    assert np.array_equal(made.maps["kidney"], wanted)
    assert np.array_equal(made.label, wanted > 0)


def test_air_alone_needs_no_body() -> None:
    net = Constant(0.1, 0.8, 0.1)
    air = np.full((3, 64, 64), -1000, np.int16)
    assert not make(member(net), crop=True).segment(air, (1, 1, 1)).label.any()
    assert net.seen == 0


def test_a_network_whose_poolings_do_not_fit_into_crops_sees_whole_slices() -> None:
    assert [is_local(UNet(width=1, depth=depth)) for depth in (5, 6)] == [True, False]
