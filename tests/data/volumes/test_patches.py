"""`kitsseg.data.volumes.dataset` and `kitsseg.data.volumes.datamodule`."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kitsseg.data.labels import AIR_HU
from kitsseg.data.slices.augment import Augmentation
from kitsseg.data.slices.sampling import Draw
from kitsseg.data.sources.kits import Kits19
from kitsseg.data.split import Seeded
from kitsseg.data.volumes.datamodule import PatchDataModule
from kitsseg.data.volumes.dataset import Tiles, read_patch
from kitsseg.inference import checkpoint
from kitsseg.inference.description import parse_description
from kitsseg.models.window import Window

PATCH = [4, 32, 32]


def make_patches(root: Path, prepared: Path, **options: Any) -> PatchDataModule:
    """Return a data module of the cases in ``root`` after `setup`; two of six are validation cases."""
    settings = {"patch": PATCH, "spacing_mm": None, **options}
    data = PatchDataModule(root, Kits19(), Seeded(0.33), Augmentation([]), prepared, **settings)
    data.adapt({"depth": 2, "width": 4})
    data.prepare_data()
    data.setup()
    return data


def test_a_patch_beyond_the_volume_is_air(blocks: Path, tmp_path: Path) -> None:
    store = make_patches(blocks, tmp_path).store
    image, label = read_patch(store, 0, (-1, 60, 10), (8, 8, 8))
    assert (image[0] == AIR_HU).all() and (image[7] == AIR_HU).all() and (image[:, 4:] == AIR_HU).all()
    assert np.array_equal(image[1:7, :4], store.images(0)[:, 60:, 10:18])
    assert np.array_equal(label[1:7, :4], store.labels(0)[:, 60:, 10:18])


def test_tiles_cover_each_voxel_once(blocks: Path, tmp_path: Path) -> None:
    store = make_patches(blocks, tmp_path).store
    tiles = Tiles(store, [1, 3], (4, 24, 40))
    samples = [tiles[Draw(0, 0, row)] for row in range(len(tiles.places))]
    assert tiles.in_case.tolist() == [1] * 12 + [3] * 12
    for case in (1, 3):
        labels = [s["label"].numpy() for s in samples if s["case"] == case]
        assert sum((label > 0).sum() for label in labels) == (store.labels(case) > 0).sum()
        images = [s["image"].numpy() for s in samples if s["case"] == case]
        assert sum((image > AIR_HU).sum() for image in images) == (store.images(case) > AIR_HU).sum()


def test_patches_depend_on_seed_epoch_and_position_only(blocks: Path, tmp_path: Path) -> None:
    data = make_patches(blocks, tmp_path)
    first, again = (data._training_samples() for _ in range(2))
    places = [first.place(np.random.default_rng((0, epoch, 3))) for epoch in range(20)]
    assert len({str(place) for place in places}) > 10
    assert places == [again.place(np.random.default_rng((0, epoch, 3))) for epoch in range(20)]
    assert {data.store.ids[case] for case, _ in places} <= set(data.split.train)
    one, other = first[Draw(1, 2, 0)], again[Draw(1, 2, 7)]
    assert one["case"] == other["case"] and (one["image"] == other["image"]).all()


def test_classes_are_centred_equally_often(blocks: Path, tmp_path: Path) -> None:
    samples = make_patches(blocks, tmp_path, centred=1.0)._training_samples()
    samples.patch = (1, 1, 1)
    labels = [int(samples[Draw(0, i, i)]["label"]) for i in range(200)]
    counts = Counter(labels)
    assert set(counts) == {1, 2} and 70 < counts[1] < 130


def test_background_patches_are_kept_at_their_share(blocks: Path, tmp_path: Path) -> None:
    def share(keep: float) -> float:
        data = make_patches(blocks, tmp_path, centred=0.0, background_keep=keep)
        samples = data._training_samples()
        samples.patch = (1, 8, 8)
        return float(np.mean([bool(samples[Draw(0, i, i)]["label"].any()) for i in range(300)]))

    everywhere = share(1.0)
    assert everywhere < 0.4 and share(0.0) == 1.0
    odds = 0.1 * (1 - everywhere)
    assert abs(share(0.1) - everywhere / (everywhere + odds)) < 0.12


def test_stage_two_sees_patches_with_the_target(blocks: Path, tmp_path: Path) -> None:
    tumours = make_patches(blocks, tmp_path).for_target_slices()
    batch = next(iter(tumours.train_dataloader()))
    assert (batch["label"] == 2).flatten(1).any(1).all()


def test_batches_have_the_shape_of_patches(blocks: Path, tmp_path: Path) -> None:
    data = make_patches(blocks, tmp_path, patches_per_epoch=5, batch_size=2)
    batches = list(data.train_dataloader())
    assert [tuple(b["image"].shape) for b in batches] == [(2, 1, 4, 32, 32)] * 2
    assert batches[0]["label"].shape == (2, 4, 32, 32)
    assert len(data.rows(0)) == 5
    # 4 training cases of 6 x 64 x 64 hold 24 patches of 4 x 32 x 32
    assert len(make_patches(blocks, tmp_path).rows(0)) == 24
    rows = np.concatenate([b["row"] for b in data.val_dataloader()])
    assert rows.tolist() == list(range(2 * 2 * 2 * 2))


def test_volumes_are_resampled_in_their_own_store(blocks: Path, tmp_path: Path) -> None:
    data = make_patches(blocks, tmp_path, spacing_mm=[1.5, 1.6, 1.6], patch=[12, 32, 32])
    assert data.store.images(0).shape == (12, 32, 32)
    assert data.store.grid(0).native == (6, 64, 64) and data.store.grid(0).stored == (12, 32, 32)
    assert data.inputs()["spacing_mm"] == (1.5, 1.6, 1.6) and data.inputs()["patch"] == (12, 32, 32)
    assert data.pixel_range_mm() == pytest.approx((1.6, 1.6))
    assert make_patches(blocks, tmp_path).store.folder != data.store.folder


def test_cubic_volumes_are_in_another_store(blocks: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"spacing_mm": [3, 0.6, 0.6], "patch": [4, 32, 32]}
    linear, cubic = (
        make_patches(blocks, tmp_path, interpolation=how, **options) for how in ("linear", "cubic")
    )
    assert linear.store.folder != cubic.store.folder
    assert not np.array_equal(linear.store.images(0), cubic.store.images(0))
    assert np.array_equal(linear.store.labels(0), cubic.store.labels(0))
    assert cubic.store.grid(0).cubic and cubic.inputs()["interpolation"] == "cubic"
    header = checkpoint.header({}, Window(-79, 304, 101, 76.9), provenance={}, **cubic.inputs())
    assert parse_description(header)["interpolation"] == "cubic"


def test_auto_plans_for_the_network(blocks: Path, tmp_path: Path) -> None:
    data = PatchDataModule(blocks, Kits19(), Seeded(0.33), Augmentation([]), tmp_path)
    network = data.adapt({"depth": 3, "width": 4, "strides": None, "kernels": None})
    assert data.plan.spacing_mm == (3.0, 0.8, 0.8) and data.plan.patch == (6, 64, 64)
    assert network["strides"] == [[1, 2, 2]] * 3 and network["kernels"][0] == [1, 3, 3]
    own = {"depth": 3, "strides": [[1, 2, 2]] * 3, "kernels": None}
    assert data.adapt(own)["strides"] == own["strides"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neighbours": 1}, "neighbours=1: must be 0"),
        ({"target_repeat": 2}, "target_repeat=2: must be 1 in 3D; set data.centred"),
        ({"centred": 2.0}, "centred=2.0: must be between 0 and 1"),
        ({"patch": [4, 32]}, r"patch=\[4, 32\]: must be auto or three numbers"),
        ({"interpolation": "nearest"}, "interpolation=nearest: must be linear or cubic"),
        ({"spacing_mm": [0, 1, 1]}, r"spacing_mm=\[0, 1, 1\]: must be auto, null or three numbers"),
        ({"patches_per_epoch": 0}, "patches_per_epoch=0: must be at least 1"),
    ],
)
def test_wrong_values_are_refused(
    blocks: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        PatchDataModule(blocks, Kits19(), Seeded(0.33), Augmentation([]), tmp_path, **options)
