"""Tests of 3D networks: the native grid, averaging with 2D networks, memory and its errors."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import Tensor, nn
from torch.nn import functional as F

from kitsseg.data.labels import KITS19
from kitsseg.data.store.grid import Grid
from kitsseg.data.store.volume_grid import VolumeGrid
from kitsseg.inference import segmenter, slicewise
from kitsseg.inference.checkpoint import Loaded
from kitsseg.inference.volumewise import NativeSlices, segment_stored_volume
from kitsseg.system import hardware
from tests.inference.test_segmenter import Constant, make, member
from tests.inference.test_slicewise import CPU, IDENTITY, Threshold, expected

PATCH = (8, 16, 16)


class Threshold3d(nn.Module):
    """Kidney above 0 HU, tumour above 100; quite sure. Fits ``patches`` into memory."""

    def __init__(self, patches: int = 99) -> None:
        super().__init__()
        self.patches, self.asked = patches, []

    def forward(self, image: Tensor) -> Tensor:
        self.asked.append(len(image))
        if len(image) > self.patches:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        label = (image[:, 0] > 0).long() + (image[:, 0] > 100)
        return F.one_hot(label, 3).movedim(-1, 1) * 20.0


class Smooth(nn.Module):
    """Logits that vary smoothly with HU and the place in the patch."""

    def forward(self, image: Tensor) -> Tensor:
        ramp = torch.linspace(-1, 1, image.shape[-1])
        soft = F.avg_pool3d(image, 3, 1, 1)
        return torch.cat([1 - soft / 40, soft / 60 + ramp, soft / 90 - ramp], 1)


def member3d(
    net: nn.Module, spacing_mm: tuple[float, float, float] | None = None,
    patch: tuple[int, int, int] = PATCH, interpolation: str = "linear",
) -> Loaded:  # fmt: skip
    return Loaded(
        net.eval(), IDENTITY, None, 0, {}, False, None, KITS19, patch, spacing_mm, interpolation
    )


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-200, 300, shape).astype(np.int16)


@pytest.mark.parametrize("stored", [(9, 20, 17), (23, 20, 17), (9, 40, 31), (1, 1, 1), (14, 33, 26)])
def test_native_slices_are_torchs_trilinear_interpolation(stored: tuple[int, int, int]) -> None:
    grid = VolumeGrid((14, 33, 26), stored)
    whole = torch.rand(3, *stored, generator=torch.Generator().manual_seed(0))
    wanted = F.interpolate(whole[None], grid.native, mode="trilinear", align_corners=False)[0]
    for steps in ([[0], [0], [1, 2], [7], [7, 8, 9], [13]], [range(14)], [[5, 6]]):
        native = NativeSlices(iter(whole.unbind(1)), grid, 2)
        for z in steps:
            planes = native.slices(np.array(z))
            assert planes.shape == (len(z), 3, *stored[1:])
            found = slicewise.to_native(planes, grid.native[1:]) / 2
            torch.testing.assert_close(found.transpose(0, 1), wanted[:, list(z)], rtol=0, atol=1e-4)


def test_only_the_needed_slices_are_computed_and_kept() -> None:
    computed = []

    def stored() -> Tensor:
        for i in range(40):
            computed.append(i)
            yield torch.full((2, 4, 4), float(i))

    native = NativeSlices(stored(), VolumeGrid((80, 4, 4), (40, 4, 4)), 1)
    assert native.slices(np.array([21]))[0, 0, 0, 0] == pytest.approx(10.25)
    assert computed == list(range(12)) and sorted(native._kept) == [10, 11]


@pytest.mark.parametrize("spacing_mm", [None, (2, 1, 1), (0.7, 2, 2)])
@pytest.mark.parametrize(("axes", "how"), [((), "linear"), ((0, 2), "linear"), ((), "cubic")])
def test_training_and_segmenter_and_monai_agree(
    spacing_mm: tuple[float, float, float] | None, axes: tuple[int, ...], how: str
) -> None:
    """The same labels from the stored volume, from the native one, and from MONAI and torch."""
    hu, native_mm = noise(21, 30, 34), (1.5, 1.2, 1.2)
    grid = VolumeGrid.at_spacing(hu.shape, native_mm, spacing_mm, how)
    volume = grid.fit_image(hu)
    label = segment_stored_volume(
        Smooth(), IDENTITY, volume, grid, PATCH, 0.5, axes, 3, CPU, nullcontext
    )
    assert label.dtype == np.uint8 and np.bincount(label.ravel(), minlength=3).min() > 100
    segment = make(member3d(Smooth(), spacing_mm, PATCH, how), mirror_axes=axes)
    assert (segment.segment(hu, native_mm).label != label).mean() < 1e-3
    predicted = sliding_window_inference(
        torch.from_numpy(volume.astype(np.float32))[None, None], PATCH, 4,
        lambda x: slicewise.predict_probabilities(Smooth(), x, axes), 0.5, mode="gaussian",
        cval=-1024.0,
    )  # fmt: skip
    wanted = F.interpolate(predicted, hu.shape, mode="trilinear", align_corners=False).argmax(1)[0]
    assert (label != wanted.numpy()).mean() < 1e-3


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_mirroring_by_hand(axis: int) -> None:
    """A network that sees a kidney in the first half along an axis only, sees it in both if mirrored."""
    dim = {0: -2, 1: -1, 2: -3}[axis]

    class Half(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            kidney = torch.zeros(len(image), 1, *image.shape[2:])
            kidney.narrow(dim, 0, image.shape[dim] // 2).fill_(2)
            return torch.cat([torch.ones_like(kidney), kidney, torch.zeros_like(kidney)], 1)

    hu = noise(*PATCH)
    plain, mirrored = (make(member3d(Half()), mirror_axes=axes)(hu) for axes in ((), (axis,)))
    assert (plain == 1).mean() == 0.5 and len(np.unique(mirrored)) == 1


def test_2d_and_3d_networks_are_averaged_per_network() -> None:
    image = np.zeros((12, 64, 64), np.int16)

    class Constant3d(Constant):
        def forward(self, image: Tensor) -> Tensor:
            return self.logits[..., None].expand(len(image), 3, *image.shape[2:])

    a, b = member(Constant(0.5, 0.3, 0.2), 96), member3d(Constant3d(0.2, 0.35, 0.45), (1, 2, 2))
    c = member3d(Constant3d(0.2, 0.6, 0.2))
    for members, winner, tumour in (
        ((a, b), 0, 0.325),
        ((b, a, b), 2, 1.1 / 3),
        ((a, b, c), 1, 0.85 / 3),
        ((c, c, b, a), 1, 0.2625),
    ):
        made = make(*members).segment(image, (1, 1, 1), ("tumour",))
        assert (made.label == winner).all()
        assert (np.abs(made.maps["tumour"] / 255 - tumour) <= 0.5 / 255 + 1e-5).all()


def test_air_is_background_and_slices_keep_their_place() -> None:
    image = noise(40, 50, 45)
    image[:9] = image[20:31] = image[38] = -1000
    wanted = expected(image)
    for members in ([member3d(Threshold3d())], [member(Threshold()), member3d(Threshold3d())]):
        assert np.array_equal(make(*members)(image), wanted)
    net = Threshold3d()
    air = np.full((9, 20, 20), -1000, np.int16)
    assert not make(member3d(net)).segment(air, (1, 1, 1)).label.any() and not net.asked


def test_a_full_device_gets_fewer_patches_at_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(segmenter, "PIXELS_PER_BATCH_CPU", 8 * 16 * 16 * 6)
    net, image = Threshold3d(2), noise(8, 16, 16 * 4)
    made = make(member3d(net), overlap=0)
    assert np.array_equal(made(image), expected(image))
    assert net.asked == [4, 2, 2]
    assert [r.getMessage() for r in caplog.records if "memory" in r.getMessage()] == [
        "device=cpu: not enough memory for 4 patches per batch; continuing with 2"
    ]
    made(image)
    assert net.asked[3:] == [2, 2]
    with pytest.raises(
        ValueError, match="^device=cpu: not enough memory for patches of 8 x 16 x 16 vox"
    ):
        make(member3d(Threshold3d(0)))(image)


def test_a_spacing_that_needs_too_much_memory_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = make(member3d(Threshold3d(), (3.22, 1.62, 1.62)), member(Threshold()))
    hu = noise(9, 512, 512)
    monkeypatch.setattr(hardware, "free_memory", lambda device: 4e9)
    with pytest.raises(ValueError) as refusal:
        made(hu, (1, 50, 50))
    assert str(refusal.value) == (
        "its spacing of 1 x 50 x 50 mm gives 3 x 15802 x 15802 voxels for a 3D network; this needs "
        "104 GB, but 4 GB of memory is free; correct the spacing, or free memory"
    )
    assert made(hu, (1, 1, 1)).shape == hu.shape  # the remedy


def test_free_memory_is_that_of_the_machine() -> None:
    assert 1e8 < hardware.free_memory(CPU) < 1e14


def test_an_array_needs_its_spacing_for_resampling() -> None:
    hu = noise(9, 32, 32)
    resampling = make(member3d(Threshold3d(), (2, 1, 1)))
    with pytest.raises(ValueError, match="^spacing_mm: required for 3D networks$"):
        resampling(hu)
    assert resampling(hu, (2, 1, 1)).shape == make(member3d(Threshold3d()))(hu).shape == hu.shape


def test_a_volume_far_smaller_than_the_patch_gets_a_warning() -> None:
    made = make(member3d(Threshold3d(), (2, 1, 1), (32, 16, 16)))
    (warning,) = made.segment(noise(14, 20, 20), (1, 1, 1)).warnings
    assert warning.startswith("its 7 x 20 x 20 voxels cover a small part of the 32 x 16 x 16 voxels")
    assert made.segment(noise(14, 20, 20), (2, 1, 1)).warnings == ()


def test_arguments_are_checked() -> None:
    flat, deep = member(Threshold()), member3d(Threshold3d())
    with pytest.raises(
        ValueError, match="mirror_axes=.2. may hold 0 and 1, .*; 2 is for 3D networks only"
    ):
        make(flat, deep, mirror_axes=[2])
    with pytest.raises(ValueError, match="mirror_axes=.3. may hold 0, 1 and 2, each once"):
        make(deep, mirror_axes=[3])
    for overlap in (-0.1, 1, float("nan")):
        with pytest.raises(ValueError, match=r"overlap=.*: must be at least 0 and below 1"):
            make(deep, overlap=overlap)
    assert not make(deep).crop and make(deep, flat, crop=True).crop


def test_2d_networks_beside_3d_ones_see_what_they_see_alone() -> None:
    """Crop and slices are those of the 2D network, whatever else is averaged."""
    hu, flat = noise(5, 40, 40), Threshold()
    grid = Grid((40, 40), None)
    alone = slicewise.segment_stored(flat, IDENTITY, hu, grid, 0, (), CPU, nullcontext)
    sure = make(member(flat), member(flat), member3d(Smooth()))
    assert np.array_equal(sure(hu), alone)
