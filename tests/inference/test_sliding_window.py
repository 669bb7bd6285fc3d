"""Tests of the sliding window: MONAI's results, air, and memory."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import Tensor

from kitsseg.inference.sliding_window import sliding_window

CPU = torch.device("cpu")
PATCH = (8, 12, 16)


def probabilities(hu: Tensor) -> Tensor:
    """Depend on the place in the patch, so that the weights matter: ``[B, 1, D, H, W]`` -> 3 classes."""
    ramp = torch.linspace(0, 1, hu[0].numel()).view(hu.shape[1:])
    return torch.stack([hu[:, 0] / 100, ramp.expand_as(hu)[:, 0] * 3, -hu[:, 0] / 50], 1).softmax(1)


class Predict:
    """Probabilities of patches, and the number of patches."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, patches: Sequence[np.ndarray]) -> Iterator[Tensor]:
        for patch in patches:
            self.seen += 1
            yield probabilities(torch.from_numpy(patch.astype(np.float32))[None, None])[0]


def run(
    image: np.ndarray, overlap: float = 0.5, patch: tuple[int, int, int] = PATCH
) -> tuple[Tensor, Predict]:
    read: list[tuple[int, int]] = []

    def slices(first: int, last: int) -> np.ndarray:
        read.append((first, last))
        return image[first:last]

    predict = Predict()
    found = list(sliding_window(image.shape, slices, predict, 3, patch, overlap, CPU))
    assert [i for first, last in read for i in range(first, last)] == list(range(len(image)))
    return torch.stack(found), predict


@pytest.mark.parametrize("overlap", [0, 0.25, 0.5, 0.75])
@pytest.mark.parametrize(
    "shape", [(8, 12, 16), (16, 24, 32), (21, 19, 37), (3, 12, 40), (1, 5, 7), (30, 5, 17)]
)
def test_it_is_monais(shape: tuple[int, int, int], overlap: float) -> None:
    image = np.random.default_rng(0).integers(-200, 200, shape).astype(np.int16)
    found, _ = run(image, overlap)
    wanted = sliding_window_inference(
        torch.from_numpy(image.astype(np.float32))[None, None], PATCH, 3, probabilities, overlap,
        mode="gaussian", cval=-1024.0,
    )  # fmt: skip
    torch.testing.assert_close(found, wanted[0].transpose(0, 1), rtol=1e-5, atol=1e-6)


def test_patches_of_air_are_background_and_cost_nothing() -> None:
    image = np.full((40, 24, 16), -1000, np.int16)
    image[:, 0, 0] = -500
    whole, predict = run(image, 0)
    assert predict.seen == 0 and (whole[:, 0] == 1).all() and (whole[:, 1:] == 0).all()
    image[9, 20, 3] = -499
    whole, predict = run(image, 0)
    assert predict.seen == 1
    is_air = whole[:, 0] == 1
    assert not is_air[8:16, 12:].any()
    assert is_air[:8].all() and is_air[16:].all() and is_air[8:16, :12].all()


def test_slices_are_not_overwritten_later() -> None:
    image = np.random.default_rng(0).integers(-200, 200, (40, 12, 16)).astype(np.int16)
    copies, found = [], []
    for plane in sliding_window(image.shape, lambda a, b: image[a:b], Predict(), 3, PATCH, 0.5, CPU):
        found.append(plane)
        copies.append(plane.clone())
    assert len(found) == 40 and all(map(torch.equal, found, copies))
