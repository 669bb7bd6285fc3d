"""Augmentation: image and mask together, air at the border, every sample its own stream."""

import albumentations as A
import numpy as np
import pytest
from torch.utils.data import DataLoader

from kitsseg.data.case import Case
from kitsseg.data.labels import AIR_HU
from kitsseg.data.slices.augment import Augmentation, ContrastHU, NoiseHU
from kitsseg.data.slices.dataset import SliceDataset, collate
from kitsseg.data.slices.sampling import TrainBatches
from kitsseg.data.store.prepare import prepare

SHIFT = A.Affine(translate_percent=(0.2, 0.3), rotate=(20, 30), fill=AIR_HU, p=1)


def pair() -> tuple[np.ndarray, np.ndarray]:
    """A mask and an image that shows it: 100 HU where the label is 1, 40 elsewhere."""
    label = np.zeros((64, 64), np.uint8)
    label[20:40, 10:50] = 1
    return np.where(label, 100, 40).astype(np.int16)[None], label


def test_image_and_mask_move_together() -> None:
    image, label = pair()
    moved_any = False
    for position in range(8):
        chain = Augmentation([A.HorizontalFlip(), A.VerticalFlip(), A.Affine(
            translate_percent=(-0.2, 0.2), fill=AIR_HU, interpolation=0, p=0.9)])  # fmt: skip
        new_image, new_label = chain(image, label, (0, 0, position))
        inside = new_image[0] != AIR_HU
        assert np.array_equal(new_image[0][inside] == 100, new_label[inside] == 1)
        assert new_image.dtype == np.int16 and new_label.dtype == np.uint8
        moved_any |= not np.array_equal(new_label, label)
    assert moved_any


def test_what_comes_in_from_outside_is_air_and_background() -> None:
    image, label = np.full((1, 64, 64), 40, np.int16), np.ones((64, 64), np.uint8)
    image, label = Augmentation([SHIFT])(image, label, (0, 0, 0))
    assert image.min() == AIR_HU
    assert (label[image[0] == AIR_HU] == 0).all()


def test_a_border_of_soft_tissue_is_refused() -> None:
    with pytest.raises(
        ValueError, match="Affine: fill=0.*: the border must be filled with air; set fill=-1024"
    ):
        Augmentation([A.Affine(rotate=(-10, 10))])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"fill_mask": 2}, "Affine: fill_mask=2.*: .*; set fill_mask=0"),
        ({"mask_interpolation": 1}, "Affine: mask_interpolation=1: .*; set mask_interpolation=0"),
    ],
)
def test_class_ids_that_the_label_lacks_are_refused(options: dict[str, int], text: str) -> None:
    flip = A.OneOf([A.HorizontalFlip(), A.Affine(rotate=(-10, 10), fill=AIR_HU, **options)])
    with pytest.raises(ValueError, match=text):
        Augmentation([flip])


def test_a_sample_depends_on_its_seed_alone() -> None:
    chain = Augmentation([SHIFT, ContrastHU(p=1), NoiseHU(p=1)])
    image, label = pair()
    first = chain(image, label, (1, 2, 3))[0]
    chain(image, label, (9, 9, 9))
    assert np.array_equal(chain(image, label, (1, 2, 3))[0], first)
    for other in ((1, 2, 4), (1, 3, 3), (2, 2, 3)):
        assert not np.array_equal(chain(image, label, other)[0], first)


@pytest.fixture(scope="module")
def store(block_cases: list[Case], tmp_path_factory: pytest.TempPathFactory) -> object:
    return prepare(block_cases, tmp_path_factory.mktemp("store"), 64)


def epoch_of(store: object, workers: int, epoch: int) -> np.ndarray:
    """The images of one epoch, all of the same slice: only augmentation tells them apart."""
    dataset = SliceDataset(store, augmentation=Augmentation([NoiseHU(sd_hu=(50, 50), p=1)]), seed=3)  # type: ignore
    batches = TrainBatches(lambda epoch: np.zeros(24, int), lambda: epoch, 3, 0)
    loader = DataLoader(dataset, batch_sampler=batches, num_workers=workers, collate_fn=collate)
    return np.concatenate([b["image"].numpy() for b in loader])


def test_no_two_workers_draw_the_same_and_their_number_changes_nothing(store: object) -> None:
    """albumentations 2.0.8 alone gives all workers one stream that restarts every epoch."""
    alone = [epoch_of(store, 0, epoch) for epoch in (0, 1)]
    images = np.concatenate(alone).reshape(48, -1)
    assert len(np.unique(images, axis=0)) == 48  # every sample of both epochs is its own
    assert np.array_equal(epoch_of(store, 2, 0), alone[0])
    assert np.array_equal(epoch_of(store, 3, 1), alone[1])


def test_contrast_by_hand() -> None:
    image, label = pair()
    out, same = Augmentation([ContrastHU(gain=(2, 2), offset_hu=(5, 5), pivot_hu=40, p=1)])(
        image, label, (0,)
    )
    # 40 + 2 (HU - 40) + 5
    assert sorted(np.unique(out)) == [45, 165]
    assert np.array_equal(same, label)


def test_noise_has_its_standard_deviation() -> None:
    image = np.zeros((1, 200, 200), np.int16)
    out, _ = Augmentation([NoiseHU(sd_hu=(30, 30), p=1)])(image, image[0].astype(np.uint8), (0,))
    assert out.std() == pytest.approx(30, rel=0.03)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Augmentation([], 100, 100), "low_hu=100, high_hu=100: must be in ascending order"),
        (lambda: NoiseHU(sd_hu=(-1, 3)), "must not be negative"),
        (lambda: ContrastHU(gain=(2, 1)), "must be in ascending order"),
    ],
)
def test_ranges(make: object, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()  # type: ignore[operator]


def test_none_changes_nothing() -> None:
    image, label = pair()
    assert Augmentation([])(image, label, (0,))[0] is image


def test_neighbours_move_with_their_slice() -> None:
    image, label = pair()
    chain = Augmentation([SHIFT, A.HorizontalFlip(p=1)])
    stacked, moved = chain(np.repeat(image, 5, axis=0), label, (0, 0, 1))
    alone, moved_alone = chain(image, label, (0, 0, 1))
    assert np.array_equal(stacked, np.repeat(alone, 5, axis=0))
    assert np.array_equal(moved, moved_alone)


def test_a_transform_can_be_used_twice() -> None:
    """A cell of a notebook is often run again."""
    image, label = pair()
    transforms = [A.RandomBrightnessContrast(p=1)]
    first = Augmentation(transforms)(image, label, (0,))[0]
    assert np.array_equal(Augmentation(transforms)(image, label, (0,))[0], first)
    assert not np.array_equal(Augmentation(transforms, 0, 1000)(image, label, (0,))[0], first)
