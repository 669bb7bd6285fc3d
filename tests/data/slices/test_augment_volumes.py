"""Augmentation of volumes: all slices move alike, noise differs, and 2D results are as before."""

import hashlib
import pickle
import warnings
from pathlib import Path

import albumentations as A
import numpy as np
import pytest
from omegaconf import OmegaConf

from kitsseg.config.components import instantiate
from kitsseg.config.validation import CONFIG_DIR
from kitsseg.data.labels import AIR_HU
from kitsseg.data.slices.augment import Augmentation, ContrastHU, FlipSlices, NoiseHU
from kitsseg.data.slices.patch import RandomPatch
from tests.data.slices.test_hu_transforms import make, slice_and_label, transforms

AFFINE = A.Affine(translate_percent=(0.1, 0.2), rotate=(10, 30), scale=(0.8, 1.2), fill=AIR_HU, p=1)


def volume_and_label(depth: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """The same slice several times."""
    image, label = slice_and_label()
    return np.repeat(image, depth, 0)[None], np.repeat(label[None], depth, 0)


def test_slices_are_augmented_as_before_there_were_volumes() -> None:
    """The expected hash was computed at commit ac2c434."""
    rows, columns = np.mgrid[:96, :80]
    image = ((rows * 7 + columns * 5) % 400 - 160).astype(np.int16)[None].repeat(3, 0)
    label = ((rows // 16 + columns // 16) % 3).astype(np.uint8)
    chain = Augmentation(
        [
            A.HorizontalFlip(),
            A.Affine(rotate=(-20, 20), interpolation=0, fill=AIR_HU, p=0.9),
            A.OneOf([A.GaussNoise(), A.RandomBrightnessContrast()]),
            A.RandomBrightnessContrast(p=0.4),
            ContrastHU(p=0.7),
            NoiseHU(p=0.5),
        ]
    )
    digest = hashlib.sha256()
    for position in range(12):
        for planes in (image[:1], image):
            for part in chain(planes, label, (1, 2, position)):
                digest.update(part.tobytes())
    assert digest.hexdigest() == "cb07736e6358b01bec2e82ee991f9d3d4616ccad655ef7c92ba79cba288a8306"


@pytest.mark.parametrize(
    "transform",
    [
        *(A.HorizontalFlip(p=1), A.VerticalFlip(p=1), AFFINE, A.ElasticTransform(fill=AIR_HU, p=1)),
        *(
            ContrastHU(p=1),
            A.RandomBrightnessContrast(p=1),
            A.RandomGamma(p=1),
        ),
        *(A.GaussianBlur(p=1), A.Downscale(p=1)),
    ],
    ids=lambda transform: type(transform).__name__,
)
def test_every_slice_changes_as_in_2d(transform: A.BasicTransform) -> None:
    chain = Augmentation([transform])
    chain.check_volumes((6, 96, 96))
    volume, labels = chain(*volume_and_label(), (1, 2, 3))
    image, label = chain(*slice_and_label(), (1, 2, 3))
    assert volume.shape == (1, 6, 96, 96) and volume.dtype == np.int16
    assert np.array_equal(volume[0], np.repeat(image, 6, 0))
    assert np.array_equal(labels, np.repeat(label[None], 6, 0))
    assert not np.array_equal(image, slice_and_label()[0])


def test_image_and_label_move_together() -> None:
    label = np.zeros((5, 64, 64), np.uint8)
    for z in range(5):
        label[z, 10 + 4 * z : 40, 10:50] = 1
    image = np.where(label, 100, 40).astype(np.int16)
    flat = A.Affine(translate_percent=(-0.2, 0.2), rotate=(-30, 30), interpolation=0, fill=AIR_HU)
    chain = Augmentation([A.HorizontalFlip(), A.VerticalFlip(), FlipSlices(), flat])
    for position in range(8):
        for given in (image, image[None]):
            moved, mask = chain(given, label, (0, 0, position))
            assert moved.shape == given.shape and mask.shape == label.shape
            inside = moved.reshape(label.shape) != AIR_HU
            wrong = (moved.reshape(label.shape) == 100) != (mask == 1)
            assert wrong[inside].sum() <= 2  # OpenCV rounds ties of int16 and uint8 differently
            assert not mask[~inside].any()


@pytest.mark.parametrize("noise", [NoiseHU((30, 30), p=1), A.GaussNoise((0.05, 0.05), p=1)])
def test_noise_is_independent_in_each_slice(noise: A.BasicTransform) -> None:
    image = np.full((1, 6, 128, 128), 100, np.int16)
    out, _ = Augmentation([noise])(image, image[0].astype(np.uint8), (0,))
    planes = out[0].reshape(6, -1)
    assert planes.std(axis=1) == pytest.approx(30, rel=0.05)
    assert np.abs(np.corrcoef(planes) - np.eye(6)).max() < 0.04


def test_it_depends_on_its_seed_alone_also_in_a_worker() -> None:
    chain = Augmentation([AFFINE, FlipSlices(), ContrastHU(p=1), NoiseHU(p=1), A.GaussNoise(p=0.5)])
    first = chain(*volume_and_label(), (1, 2, 3))[0]
    assert not np.array_equal(chain(*volume_and_label(), (1, 2, 4))[0], first)
    for same in (chain, pickle.loads(pickle.dumps(chain))):
        assert np.array_equal(same(*volume_and_label(), (1, 2, 3))[0], first)


def test_slices_are_flipped() -> None:
    chain, image = Augmentation([FlipSlices(p=1)]), np.arange(3 * 64 * 64, dtype=np.int16)
    volume = image.reshape(1, 3, 64, 64)
    out, label = chain(volume, volume[0].astype(np.uint8), (0,))
    assert np.array_equal(out, volume[:, ::-1]) and np.array_equal(
        label, volume[0, ::-1].astype(np.uint8)
    )
    neighbours, label = chain(volume[0], volume[0, 1].astype(np.uint8), (0,))
    assert np.array_equal(neighbours, volume[0, ::-1])
    assert np.array_equal(label, volume[0, 1].astype(np.uint8))


@pytest.mark.parametrize("kind", transforms(), ids=lambda kind: kind.__name__)
def test_each_transform_works_or_is_refused(kind: type) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            chain = Augmentation([make(kind)])
        except Exception:  # it is refused for slices already, or needs arguments
            return
        try:
            chain.check_volumes()
        except ValueError as error:
            assert str(error).startswith(f"{kind.__name__}: cannot be applied to volumes: ")
            assert str(error).endswith("; remove it") and "\n" not in str(error)
            return
        given, label = volume_and_label(4)
        given, label = given[..., 16:80, 16:80], label[:, 16:80, 16:80]  # make() crops to it
        before = given.copy()
        image, mask = chain(given, label, (0, 1, 2))
    assert np.array_equal(given, before)
    assert image.shape == (1, *mask.shape) and image.dtype == np.int16 and mask.dtype == np.uint8
    assert set(np.unique(mask)) <= {0, 1}
    if mask.sum() > 200:  # most of it may have been erased
        assert -250 < np.quantile(image[0][mask == 1], 0.95) < 450


@pytest.mark.parametrize(
    ("transform", "text"),
    [
        (RandomPatch(0.5), "RandomPatch: .* crops slices, and data.patch is the shape of 3D patches"),
        (A.RandomScale(), r"RandomScale: .* changes the shape of the patch from \(8, 64, 64\) to"),
        (A.CubicSymmetry(), "CubicSymmetry: .* changes the shape of the patch"),
        (A.RandomCrop3D((4, 64, 64), fill=AIR_HU), "RandomCrop3D: .* changes the shape of the patch"),
        (A.SaltAndPepper(), "SaltAndPepper: .* same noise to several slices"),
        (A.ChannelShuffle(), "ChannelShuffle: .* changes the HU of each slice in another way"),
        (A.AutoContrast(), "AutoContrast: .* changes the HU of each slice in another way"),
    ],
)
def test_what_volumes_do_not_allow_is_refused(transform: A.BasicTransform, text: str) -> None:
    with pytest.raises(ValueError, match=f"{text}.*; remove it$"):
        Augmentation([A.OneOf([transform, A.HorizontalFlip()])]).check_volumes()
    Augmentation([A.OneOf([A.HorizontalFlip()])]).check_volumes()  # removed


@pytest.mark.parametrize(
    "transform",
    [
        *(A.CubicSymmetry(p=1), A.CoarseDropout3D(fill=AIR_HU, p=1)),
        *(A.RandomCrop3D((32, 32, 32), fill=AIR_HU), A.PadIfNeeded3D((32, 32, 32), fill=AIR_HU)),
    ],
)
def test_transforms_of_volumes(transform: A.BasicTransform) -> None:
    chain = Augmentation([transform])
    chain.check_volumes((32, 32, 32))
    label = np.random.default_rng(0).integers(0, 3, (32, 32, 32)).astype(np.uint8)
    image, mask = chain((label * 50).astype(np.int16), label, (0,))
    kept = image != AIR_HU
    assert np.array_equal(image[kept], mask[kept] * 50)
    with pytest.raises(ValueError, match="cannot be applied to slices: it changes volumes"):
        chain.check_slices()


@pytest.mark.parametrize("name", ["none", "paper", "strong", "strong3d", "flip3d"])
def test_shipped_choices(name: str) -> None:
    chain = instantiate(OmegaConf.load(Path(CONFIG_DIR) / f"augmentation/{name}.yaml"))
    chain.check_volumes((8, 48, 64))
    chain.check_slices(1)
