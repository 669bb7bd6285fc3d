"""Tests of slice-wise inference: batches, sizes, neighbours, mirroring, native grid."""

import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kitsseg.data.labels import AIR_HU
from kitsseg.data.store.grid import Grid, neighbourhood
from kitsseg.inference import slicewise
from kitsseg.inference.slicewise import segment_stored
from kitsseg.models.unet import UNet
from kitsseg.models.window import Window

IDENTITY = Window(-2000, 2000, 0, 1)
CPU = torch.device("cpu")


class Threshold(nn.Module):
    """Kidney where channel ``channel`` is above 0 HU, tumour where it is above 100; quite sure."""

    def __init__(self, channel: int = 0) -> None:
        super().__init__()
        self.channel = channel

    def forward(self, image: Tensor) -> Tensor:
        assert image.shape[2] % 32 == 0 and image.shape[3] % 32 == 0
        label = (image[:, self.channel] > 0).long() + (image[:, self.channel] > 100)
        return nn.functional.one_hot(label, 3).movedim(-1, 1) * 20.0


def hu(slices: int, height: int, width: int) -> np.ndarray:
    image = np.full((slices, height, width), -50, np.int16)
    for z in range(slices):
        image[z, z : z + 20, 5:25] = 60
        image[z, z : z + 8, 5:12] = 200
    return image


def expected(image: np.ndarray) -> np.ndarray:
    return ((image > 0).astype(int) + (image > 100)).astype(np.uint8)


@pytest.mark.parametrize("slices", [1, 16, 17, 35])
@pytest.mark.parametrize("size", [(64, 64), (50, 79)])
def test_every_slice_at_its_place_whatever_the_chunks(slices: int, size: tuple[int, int]) -> None:
    image = hu(slices, *size)
    out = segment_stored(Threshold(), IDENTITY, image, Grid(size, None), 0, (), CPU, nullcontext)
    assert out.dtype == np.uint8 and np.array_equal(out, expected(image))


@pytest.mark.parametrize("size", [64, 96, 256])
def test_native_size_comes_back(size: int) -> None:
    grid = Grid((60, 100), size)
    native = hu(3, 60, 100)
    out = segment_stored(Threshold(), IDENTITY, grid.fit_image(native), grid, 0, (), CPU, nullcontext)
    assert out.shape == native.shape
    wrong = (out != expected(native)).mean()
    assert wrong < (0.06 if size < 100 else 0.03)  # along the edges only


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_neighbours_of_a_chunks_first_and_last_slices(channel: int) -> None:
    image = hu(35, 64, 64)
    out = segment_stored(
        Threshold(channel), IDENTITY, image, Grid((64, 64), None), 1, (), CPU, nullcontext
    )
    source = np.clip(np.arange(35) + channel - 1, 0, 34)
    assert np.array_equal(out, expected(image[source]))


def test_neighbourhood_by_hand() -> None:
    assert neighbourhood(np.array([0, 2, 3]), 4, 2).tolist() == [
        [0, 0, 0, 1, 2],
        [0, 1, 2, 3, 3],
        [1, 2, 3, 3, 3],
    ]


def test_a_batch_is_its_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = UNet(width=4, depth=2).eval()
    image = np.random.default_rng(0).integers(-200, 300, (9, 64, 64)).astype(np.int16)
    window = Window(-79, 304, 101, 76.9)
    whole = segment_stored(net, window, image, Grid((64, 64), None), 0, (), CPU, nullcontext)
    monkeypatch.setattr(slicewise, "SLICES_PER_BATCH", 2)
    parts = segment_stored(net, window, image, Grid((64, 64), None), 0, (), CPU, nullcontext)
    assert (whole != parts).mean() < 1e-4


def test_padding_is_air() -> None:
    padded = slicewise.pad(torch.zeros(2, 1, 50, 64, dtype=torch.int16))
    assert padded.shape == (2, 1, 64, 64)
    assert (padded[:, :, 50:] == AIR_HU).all() and (padded[:, :, :50] == 0).all()


def test_window_by_hand() -> None:
    window = Window(-79, 304, 101, 76.9)
    out = window(torch.tensor([-1024, -79, 101, 304, 3000], dtype=torch.int16))
    low, high = (-79 - 101) / 76.9, (304 - 101) / 76.9
    torch.testing.assert_close(out, torch.tensor([low, low, 0.0, high, high]))
    with pytest.raises(ValueError, match="low_hu=3: must be below high_hu=3"):
        Window(3, 3, 0, 1)
    with pytest.raises(ValueError, match="sd_hu=0: must be above 0"):
        Window(0, 1, 0, 0)


class Lopsided(nn.Module):
    """Sees a kidney in the upper left quarter only, with the probabilities given."""

    def forward(self, image: Tensor) -> Tensor:
        kidney = torch.full(image.shape[2:], 0.1)
        kidney[:32, :32] = 0.7
        rest = (1 - kidney) / 2
        return torch.stack([rest, kidney, rest]).log().expand(len(image), -1, -1, -1)


@pytest.mark.parametrize(
    ("axes", "corners"),
    [
        ((), [0.7, 0.1, 0.1, 0.1]),
        ((1,), [0.4, 0.4, 0.1, 0.1]),  # left-right: the mean of 0.7 and 0.1
        ((0,), [0.4, 0.1, 0.4, 0.1]),
        ((0, 1), [0.25, 0.25, 0.25, 0.25]),
    ],
)
def test_mirroring_averages_probabilities(axes: tuple[int, ...], corners: list[float]) -> None:
    likely = slicewise.predict_probabilities(Lopsided(), torch.zeros(2, 1, 64, 64), axes)
    assert likely.shape == (2, 3, 64, 64)
    seen = [likely[1, 1, row, col].item() for row in (0, 63) for col in (0, 63)]
    assert seen == pytest.approx(corners)
    torch.testing.assert_close(likely.sum(1), torch.ones(2, 64, 64))


@pytest.mark.parametrize("native", [(64, 64), (512, 796), (50, 33)])
def test_the_way_back_is_torchs_bilinear_interpolation(native: tuple[int, int]) -> None:
    likely = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0)).softmax(1)
    grid = Grid(native, 96)
    inner = likely[..., grid.inside[0], grid.inside[1]]
    wanted = nn.functional.interpolate(inner, native, mode="bilinear", align_corners=False)
    torch.testing.assert_close(slicewise.to_native(inner, native), wanted, rtol=0, atol=5e-5)


def test_the_first_of_the_likeliest() -> None:
    likely = torch.tensor([[0.4, 0.4, 0.2], [0.2, 0.4, 0.4], [0.3, 0.3, 0.4], [1, 1, 1]])[..., None]
    assert slicewise.argmax(likely).tolist() == [[0], [1], [2], [0]]
    many = torch.randn(4, 5, 7, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(slicewise.argmax(many), many.argmax(1).to(torch.uint8))


@pytest.mark.parametrize("pixels", [1, 96 * 80 * 2, 1 << 20])
@pytest.mark.parametrize("native", [(96, 80), (30, 25)])
def test_a_few_native_slices_at_a_time_are_the_same(pixels: int, native: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = (None, 32, 64)
    grids = [Grid(native, size) for size in sizes]
    likely = [torch.rand(5, 3, *grid.stored, generator=generator) for grid in grids]
    likely = [each[..., *grid.inside] for each, grid in zip(likely, grids, strict=True)]
    whole = [slicewise.to_native(each, native) for each in likely]
    for count in (1, 2, 3):
        wanted = sum(whole[1:count], whole[0]) / count if count > 1 else whole[0].clone()
        sums = [each.clone() for each in likely[:count]]
        parts = [
            (part, part_of.clone())
            for part, part_of in slicewise.average_on_native_grid(sums, native, count, pixels)
        ]
        assert [part.start for part, _ in parts] == list(
            range(0, 5, max(1, pixels // math.prod(native)))
        )
        assert torch.equal(torch.cat([part_of for _, part_of in parts]), wanted)
