"""Every transform of albumentations changes a CT slice sensibly or is refused when it is built."""

import inspect
import pickle
import warnings
from pathlib import Path

import albumentations as A
import numpy as np
import pytest

from kitsseg.data.slices.augment import Augmentation
from kitsseg.data.slices.datamodule import SliceDataModule
from kitsseg.data.sources.kits import Kits19
from kitsseg.data.split import Seeded

ARGUMENTS = {"CenterCrop", "Crop", "RandomCrop", "Resize", "PadIfNeeded", "RandomCropFromBorders"}


def transforms() -> list[type]:
    bases = (A.BasicTransform, A.DualTransform, A.ImageOnlyTransform, A.NoOp)
    found = [c for _, c in inspect.getmembers(A, inspect.isclass) if issubclass(c, A.BasicTransform)]
    return [c for c in found if c not in bases and not inspect.isabstract(c)]


def slice_and_label() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:96, :96] - 48
    body = rows**2 + columns**2 < 40**2
    label = (rows**2 + (columns - 15) ** 2 < 10**2).astype(np.uint8)
    hu = np.where(body, 30 + 120 * label, -1000) + rng.normal(0, 10, (96, 96))
    return hu.round().astype(np.int16)[None], label


def make(kind: type) -> A.BasicTransform:
    options = {"p": 1.0}
    parameters = inspect.signature(kind).parameters
    if "fill" in parameters:
        options["fill"] = -1024
    if {"height", "width"} <= set(parameters):
        options |= {"height": 64, "width": 64}
    if "size" in parameters:
        options["size"] = (64, 64)
    return kind(**options)


def test_there_are_many() -> None:
    assert len(transforms()) > 80


@pytest.mark.parametrize("kind", transforms(), ids=lambda kind: kind.__name__)
def test_it_works_on_hu_or_is_refused(kind: type) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            transform = make(kind)
        except Exception:  # it needs arguments of its own
            pytest.skip("needs arguments")
        try:
            augmentation = Augmentation([transform])
            augmentation.check_slices()
        except ValueError as error:
            assert str(error).startswith(f"{kind.__name__}: ") and "\n" not in str(error)
            return
        image, label = slice_and_label()
        before = image.copy()
        changed, mask = augmentation(image, label, (0, 1, 2))
    assert np.array_equal(image, before)
    assert changed.dtype == np.int16 and changed.shape[1:] == mask.shape
    assert set(np.unique(mask)) <= {0, 1}
    # The kidney is still soft tissue: no normalised, rescaled or inverted HU.
    if mask.sum() > 50:  # most of it may have been erased
        assert -250 < np.quantile(changed[0][mask == 1], 0.95) < 450
    if issubclass(kind, A.ImageOnlyTransform):
        assert np.array_equal(mask, label)


def test_brightness_by_hand() -> None:
    bright = A.RandomBrightnessContrast((0.1, 0.1), (0, 0), p=1)
    image, label = slice_and_label()
    changed, _ = Augmentation([bright], low_hu=-200, high_hu=400)(image, label, (0, 0, 0))
    inside = (image > -200) & (image < 300)
    assert (changed - image)[inside].min() >= 59 and (changed - image)[inside].max() <= 61  # 0.1 of 600
    assert np.array_equal(changed[image < -900] + 0, image[image < -900] + 60)


@pytest.mark.parametrize("nested", [False, True])
def test_another_augmentation_with_the_same_transforms_changes_nothing(nested: bool) -> None:
    bright = A.RandomBrightnessContrast((0.1, 0.1), (0, 0), p=1)
    parts = [A.OneOf([bright], p=1)] if nested else [bright]
    image, label = np.full((1, 64, 64), 100, np.int16), np.zeros((64, 64), np.uint8)
    first = Augmentation(parts, low_hu=-200, high_hu=400)
    second = Augmentation(parts, low_hu=-1000, high_hu=1000)
    assert (first(image, label, (0,))[0] == 160).all()
    assert (second(image, label, (0,))[0] == 300).all()


def test_normalising_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="Normalize: cannot be applied .* it returns values"):
        Augmentation([A.OneOf([A.Normalize(mean=0.5, std=0.1, max_pixel_value=1)])])


@pytest.mark.parametrize("kind", transforms(), ids=lambda kind: kind.__name__)
def test_neighbours_are_no_colours(kind: type) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            augmentation = Augmentation([make(kind)])
            augmentation.check_slices()
        except Exception:  # it is refused for single slices already, or needs arguments
            return
        try:
            augmentation.check_slices(1)
        except ValueError as error:
            assert "cannot be applied to slices with neighbours" in str(error)
            return
        image, label = slice_and_label()
        for channels in (3, 5):
            changed, mask = augmentation(image.repeat(channels, 0), label, (0, 1, 2))
            assert changed.shape == (channels, *mask.shape) and changed.dtype == np.int16
            # The same slice three times stays the same slice, also where the border is filled.
            assert (changed == changed[:1]).all() or "Noise" in kind.__name__
    assert kind.__name__ not in ("CLAHE", "ToSepia", "RGBShift", "HueSaturationValue")


def test_a_data_module_tries_the_augmentation_with_its_neighbours(tmp_path: Path) -> None:
    clahe = Augmentation([A.CLAHE(p=1)])
    SliceDataModule(tmp_path, Kits19(), Seeded(0.2), clahe, tmp_path)
    with pytest.raises(ValueError, match="CLAHE: cannot be applied to slices with neighbours"):
        SliceDataModule(tmp_path, Kits19(), Seeded(0.2), clahe, tmp_path, neighbours=1)


def test_a_converted_transform_is_the_same_in_a_worker() -> None:
    augmentation = Augmentation([A.GaussNoise(p=1), A.Affine(fill=-1024, p=1)])
    image, label = slice_and_label()
    copied = pickle.loads(pickle.dumps(augmentation))
    for one, two in zip(augmentation(image, label, (1, 2)), copied(image, label, (1, 2)), strict=True):
        assert np.array_equal(one, two)
