"""Tests of segmentation: averaging, native grid, empty slices, maps computed by hand."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kitsseg.data.store.grid import Grid
from kitsseg.data.store.store import make_grid
from kitsseg.evaluation.postprocess import PostProcessing
from kitsseg.inference import checkpoint, segmenter
from kitsseg.inference.checkpoint import Loaded
from kitsseg.inference.segmenter import Segmenter
from kitsseg.inference.slicewise import segment_stored
from kitsseg.models.unet import UNet
from kitsseg.models.window import Window
from tests.conftest import blocky
from tests.inference.test_slicewise import IDENTITY, Threshold, expected

WINDOW = Window(-79, 304, 101, 76.9)


def member(net: nn.Module, size: int | None = None, neighbours: int = 0) -> Loaded:
    return Loaded(net.eval(), IDENTITY, size, neighbours, {})


class Constant(nn.Module):
    """The same probabilities everywhere; counts the slices it sees."""

    def __init__(self, *likely: float) -> None:
        super().__init__()
        self.logits = torch.tensor(likely).log()[:, None, None]
        self.seen = 0

    def forward(self, image: Tensor) -> Tensor:
        self.seen += len(image)
        return self.logits.expand(len(image), 3, *image.shape[2:])


def make(*members: Loaded, **options: object) -> Segmenter:
    return Segmenter(list(members), device="cpu", precision="32-true", **options)  # type: ignore[arg-type]


def trained(path: Path, size: int | None, neighbours: int = 0, seed: int = 0) -> Path:
    """A checkpoint of a network that knows nothing, but sees all classes about as often."""
    torch.manual_seed(seed)
    about = {"in_channels": 2 * neighbours + 1, "width": 4, "depth": 2}
    net = UNet(**about).eval()
    with torch.no_grad():
        logits = net(WINDOW(torch.randn(1, about["in_channels"], 64, 64) * 50))
        net.head.bias -= logits.mean(dim=(0, 2, 3))
    network = {"_target_": "kitsseg.models.unet.UNet", **about}
    header = checkpoint.header(network, WINDOW, size, neighbours, {})
    state = {f"net.{k}": v for k, v in net.state_dict().items()}
    torch.save({"state_dict": state, "kitsseg": header}, path)
    return path


@pytest.mark.parametrize("mm", [(3, 1, 1), (1, 2.5, 1)])
@pytest.mark.parametrize(("size", "neighbours"), [(None, 0), (32, 0), (96, 1)])
def test_it_gives_what_the_training_evaluates(
    tmp_path: Path, size: int | None, neighbours: int, mm: tuple[float, ...]
) -> None:
    path, image = trained(tmp_path / "x.ckpt", size, neighbours), blocky(0, slices=7)[0]
    loaded, grid = checkpoint.load(path), make_grid(image.shape, mm, size)
    assert isinstance(grid, Grid)
    wanted = segment_stored(
        loaded.net, loaded.window, grid.fit_image(image), grid, neighbours, (1,), torch.device("cpu"),
        torch.no_grad,
    )  # fmt: skip
    out = Segmenter.load(path, mirror_axes=[1], device="cpu", precision="32-true")(image, mm)
    assert out.dtype == np.uint8 and np.bincount(wanted.ravel()).min() > 100
    assert (out != wanted).mean() < 1e-4  # other batches, other last bits


@pytest.mark.parametrize("sizes", [(64, 64), (64, None), (None, 96)])
def test_probabilities_of_several_are_averaged(sizes: tuple[int | None, int | None]) -> None:
    a, b = Constant(0.5, 0.3, 0.2), Constant(0.2, 0.3, 0.5)  # mean 0.35, 0.3, 0.35
    c = Constant(0.2, 0.6, 0.2)
    image = np.zeros((2, 64, 64), np.int16)
    for others, winner in (((), 0), ((b, b), 2), ((c,), 1)):
        members = [member(a, sizes[0]), *(member(net, sizes[1]) for net in others)]
        made = make(*members).segment(image, (1, 1, 1), ("kidney", "tumour", "uncertainty"))
        assert (made.label == winner).all()
        nets = [a, *others]
        mean = np.mean([net.logits.exp().numpy().ravel() for net in nets], axis=0)
        entropy = -sum(p * math.log(p) for p in mean) / math.log(3)
        for name, value in (
            ("kidney", mean[1] + mean[2]),
            ("tumour", mean[2]),
            ("uncertainty", entropy),
        ):
            assert made.maps[name].dtype == np.uint8 and made.maps[name].shape == image.shape
            assert (np.abs(made.maps[name] / 255 - value) <= 0.5 / 255 + 1e-5).all()


def test_slices_of_air_are_background_and_cost_nothing() -> None:
    image = np.full((6, 64, 64), -1000, np.int16)
    image[2, 5, 5] = -499
    image[4] = 100
    image[5, 0, 0] = -500
    net = Constant(0.1, 0.8, 0.1)
    made = make(member(net)).segment(image, (1, 1, 1), ("kidney",))
    assert net.seen == 2
    assert [(plane == 1).all() for plane in made.label] == [False, False, True, False, True, False]
    assert not made.label[[0, 1, 3, 5]].any() and not made.maps["kidney"][[0, 1, 3, 5]].any()
    air = np.full((3, 64, 64), -1000, np.int16)
    assert not make(member(net)).segment(air, (1, 1, 1)).label.any() and net.seen == 2


def test_leaving_out_empty_slices_changes_nothing(tmp_path: Path) -> None:
    """What isn't interpolated, since it is background on the stored grid, would be background."""
    rng = np.random.default_rng(0)
    image = rng.integers(-200, 300, (12, 50, 70)).astype(np.int16)
    image[3:9] = -200  # the networks see the same everywhere, borders aside
    paths = [trained(tmp_path / f"{seed}.ckpt", size, seed=seed) for seed, size in ((3, 32), (4, 64))]
    lazy = Segmenter.load(paths, device="cpu", precision="32-true")
    assert np.array_equal(lazy(image), lazy.segment(image, (1, 1, 1), ("tumour",)).label)


@pytest.mark.parametrize("limit", [1, 64 * 64 * 5])
def test_batches_and_neighbours(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(segmenter, "PIXELS_PER_BATCH_CPU", limit)
    rng = np.random.default_rng(0)
    image = rng.integers(-200, 300, (13, 64, 64)).astype(np.int16)
    image[[3, 8]] = -1000
    out = make(member(Threshold(channel=2), neighbours=1))(image)
    wanted = expected(image[np.clip(np.arange(13) + 1, 0, 12)])
    wanted[[3, 8]] = 0
    assert np.array_equal(out, wanted)


class Small(nn.Module):
    """On a device whose memory holds only so many slices."""

    def __init__(self, slices: int, error: RuntimeError) -> None:
        super().__init__()
        self.slices, self.error, self.asked = slices, error, []

    def forward(self, image: Tensor) -> Tensor:
        self.asked.append(len(image))
        if len(image) > self.slices:
            raise self.error
        return Threshold()(image)


@pytest.mark.parametrize(
    "error",
    [torch.cuda.OutOfMemoryError("CUDA out of memory."), RuntimeError("MPS backend out of memory (x)")],
)
def test_a_full_device_gets_fewer_slices_at_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: RuntimeError
) -> None:
    monkeypatch.setattr(segmenter, "PIXELS_PER_BATCH_CPU", 64 * 64 * 12)
    image = np.random.default_rng(0).integers(-200, 300, (13, 64, 64)).astype(np.int16)
    net = Small(4, error)
    made = make(member(net))
    assert np.array_equal(made(image), expected(image))
    assert net.asked == [12, 6, 3, 3, 3, 3, 1]
    assert [r.getMessage() for r in caplog.records if "memory" in r.getMessage()] == [
        f"device=cpu: not enough memory for {n} slices per batch; continuing with {n // 2}"
        for n in (12, 6)
    ]
    made(image)
    assert net.asked[7:] == [3, 3, 3, 3, 1]  # of the next volume no more at once


def test_a_slice_that_does_not_fit_is_one_line() -> None:
    full = torch.cuda.OutOfMemoryError("CUDA out of memory.")
    with pytest.raises(ValueError, match="device=cpu: not enough memory for a slice of 4096 pixels"):
        make(member(Small(0, full)))(blocky(0)[0])
    with pytest.raises(RuntimeError, match="mistake of ours"):
        make(member(Small(0, RuntimeError("a mistake of ours"))))(blocky(0)[0])

    class Huge(Threshold):
        def to(self, *args: object, **kwargs: object) -> nn.Module:  # type: ignore[override]
            raise full

    with pytest.raises(ValueError, match="device=cpu: not enough memory for the network; free memory"):
        make(member(Huge()))


def test_pixels_that_are_not_square_are_made_so() -> None:
    """As in a sagittal volume, turned: 20 columns of 4 mm, 80 rows of 1 mm."""

    class Square(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            shapes.append(tuple(image.shape[2:]))
            return Threshold()(image)

    shapes: list[tuple[int, ...]] = []
    image = np.full((2, 80, 20), -50, np.int16)
    image[:, 20:60, 5:15] = 60
    for size, shape in ((None, (96, 96)), (160, (160, 160))):
        out = make(member(Square(), size))(image, (1, 1, 4))
        assert shapes[-1] == shape  # 80 x 80 pixels of 1 mm, padded
        assert out.shape == image.shape and (out != expected(image)).mean() < 0.05
    make(member(Square()))(image)
    assert shapes[-1] == (96, 32)  # without a spacing they count as square


def test_networks_with_the_same_doubt_give_one_warning() -> None:
    image = np.full((2, 40, 40), 60, np.int16)
    own = replace(member(Threshold()), pixel_mm=(0.5, 0.8))
    (warning,) = make(own, own, own).segment(image, (1, 3, 3)).warnings
    assert warning.startswith("its pixels of 3 mm differ from those of the training data, 0.5 to 0.8 mm")
    assert make(own).segment(image, (1, 0.7, 0.7)).warnings == ()


def test_post_processing_comes_last() -> None:
    image = np.full((3, 64, 64), -50, np.int16)
    image[:, 5:25, 5:25] = image[1, 50:52, 50:52] = 60
    cleaned = make(member(Threshold()), postprocess=PostProcessing({"kidney": {"largest": 1}}))
    assert cleaned(image, (1, 1, 1)).sum() == 3 * 400
    assert make(member(Threshold()))(image).sum() == 3 * 400 + 4
    with pytest.raises(ValueError, match="spacing_mm: required for post-processing"):
        cleaned(image)
    with pytest.raises(ValueError, match=r"regions.kidne: the labels have no such region; did you mean"):
        make(member(Threshold()), postprocess=PostProcessing({"kidne": {"largest": 1}}))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"mirror_axes": [2]}, "mirror_axes=.2. may hold 0 and 1, each once"),
        ({"device": "nosuch"}, "device=nosuch: this machine does not have it; try auto or cpu"),
        ({"device": "cuda:77"}, "device=cuda:77: this machine does not have it"),
        ({"precision": "8"}, "precision=8: must be auto, 32-true"),
    ],
)
def test_arguments_are_checked(options: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Segmenter([member(Threshold())], **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one"):
        Segmenter([])


def test_reduced_precision_is_close(tmp_path: Path) -> None:
    path = trained(tmp_path / "x.ckpt", None)
    image = blocky(0)[0]
    both = [Segmenter.load(path, device="cpu", precision=p) for p in ("32-true", "bf16-mixed")]
    maps = [each.segment(image, (1, 1, 1), ("kidney",)).maps["kidney"].astype(int) for each in both]
    assert 0 < np.abs(maps[0] - maps[1]).max() < 12
