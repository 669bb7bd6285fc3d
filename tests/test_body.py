"""Where there is a body, and how much of a slice the networks then see."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kitsseg import segmenter
from kitsseg.body import View, find_body, on_stored
from kitsseg.grid import Grid
from tests.test_inference import Threshold, expected
from tests.test_segmenter import Constant, make, member


def test_a_body_is_what_is_no_air() -> None:
    hu = np.full((3, 50, 60), -1000, np.int16)
    assert find_body(hu, -500) is None
    hu[0, 10, 20], hu[2, 30, 25], hu[1, 40, 50] = -499, 0, -500
    assert find_body(hu, -500) == (slice(10, 31), slice(20, 26))


@pytest.mark.parametrize(
    ("body", "native", "size", "margin", "part"),
    [
        # 40 to 99 of 200 is 20 to 49.5 of 100, and lies 0 further down: 30 pixels, made 32.
        ((slice(40, 99), slice(0, 200)), (200, 200), 100, 0, (slice(19, 51), slice(0, 100))),
        ((slice(40, 99), slice(0, 200)), (200, 200), 100, 8, (slice(3, 67), slice(0, 100))),
        # At the border it grows inwards.
        ((slice(0, 10), slice(190, 200)), (200, 200), 200, 8, (slice(0, 32), slice(168, 200))),
        # A wide slice lies 25 pixels below the top of its square.
        ((slice(0, 64), slice(64, 128)), (100, 200), 200, 0, (slice(50, 114), slice(64, 128))),
        ((slice(0, 64), slice(64, 128)), (100, 200), None, 0, (slice(0, 64), slice(64, 128))),
        ((slice(0, 64), slice(64, 128)), (100, 200), None, 40, (slice(0, 100), slice(16, 176))),
    ],
)
def test_the_part_that_networks_see(
    body: tuple[slice, slice], native: tuple[int, int], size: int | None, margin: int,
    part: tuple[slice, slice],
) -> None:  # fmt: skip
    assert on_stored(body, Grid(native, size), margin) == part


def test_what_is_not_seen_is_background() -> None:
    grid = Grid((64, 64), None)
    view = View(None, grid, (slice(32, 64), slice(0, 32)))
    likely = torch.full((2, 3, 32, 32), 1 / 3)
    whole = view.whole_of(likely)
    assert torch.equal(whole[:, :, 32:, :32], likely) and whole.shape == (2, 3, 64, 64)
    assert (whole[:, 0, :32] == 1).all() and (whole[:, 1:, :32] == 0).all() and (whole.sum(1) == 1).all()
    assert View(None, grid, None).whole_of(likely) is likely


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
    margin = 2 * segmenter.MARGIN + (10 if size is None else 5)
    assert shapes == [(side, side), (min(side, -(-margin // 32) * 32),) * 2]
    assert np.array_equal(whole, cropped)
    if size is None:
        assert np.array_equal(whole, expected(image))


def test_probabilities_beside_the_body_are_those_of_background() -> None:
    image = np.full((2, 256, 256), -1000, np.int16)
    image[0, 100:110, 100:110] = 0
    made = make(member(Constant(0.1, 0.8, 0.1)), crop=True).segment(image, (1, 1, 1), ("kidney",))
    rows, columns = on_stored(
        (slice(100, 110), slice(100, 110)), Grid((256, 256), None), segmenter.MARGIN
    )
    wanted = np.zeros(image.shape, np.uint8)
    wanted[0, rows, columns] = round(0.9 * 255)
    assert np.array_equal(made.maps["kidney"], wanted)
    assert np.array_equal(made.label, wanted > 0)


def test_air_alone_needs_no_body() -> None:
    net = Constant(0.1, 0.8, 0.1)
    assert not make(member(net), crop=True)(np.full((3, 64, 64), -1000, np.int16)).any()
    assert net.seen == 0
