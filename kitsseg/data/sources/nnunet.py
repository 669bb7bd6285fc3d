"""Read data sets in the raw layout of nnU-Net (version 2 or 1) or the Medical Segmentation Decathlon."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kitsseg.data.case import SPLIT, TEST, Case, check_ids, nifti_ending, shown
from kitsseg.data.labels import KITS19, Labels
from kitsseg.data.sources.source import Source, check_files

DATASET, CHANNEL = "dataset.json", "_0000"
IMAGES, LABELS, TEST_IMAGES, TEST_LABELS = "imagesTr", "labelsTr", "imagesTs", "labelsTs"
ENDINGS = (".nii.gz", ".nii")


class NnUNet(Source):
    """A folder with ``dataset.json``, ``imagesTr``, ``labelsTr`` and, for test cases, ``imagesTs``."""

    def cases(self, root: str | Path, labels: Labels = KITS19) -> list[Case]:
        """Return training and test cases, sorted by id; raise `ValueError` if the layout is wrong."""
        root = Path(root).expanduser()
        path, content = root / DATASET, _read(root)
        try:
            _check_format(path, content)
            _check_names(path, content, labels)
            training = _listed(root, content) if _is_list(content) else _in_folders(root, content)
            test = _test_images(root, content)
        except (TypeError, AttributeError, LookupError) as error:
            raise ValueError(f"{path}: is not in nnU-Net's format ({error!r}); correct it") from error
        check_ids([*(name for name, _, _ in training), *test], path)
        check_files([file for _, *files in training for file in files], path)
        check_files(list(test.values()), path)
        if (stated := content.get("numTraining", len(training))) != len(training):
            problem = f"numTraining={stated}, but there are {len(training)} training cases"
            raise ValueError(f"{path}: {problem}; correct it, or add the missing files")
        stored, offset_hu = self.stored(labels), self.offset_hu
        cases = [Case(*files, stored, str(path), offset_hu) for files in training]
        for name, image in test.items():
            label = root / TEST_LABELS / f"{name}{nifti_ending(image.name)}"
            own = label if label.is_file() else None
            cases.append(Case(name, image, own, stored, str(path), offset_hu, {SPLIT: TEST}))
        return sorted(cases, key=lambda case: case.id)


def read_labels(root: str | Path, target: str | None = None) -> Labels:
    """Return the labels that ``dataset.json`` describes.

    Each class is a region. If values are lists, the names are nnU-Net's regions; a class is then named
    after the region whose value in ``regions_class_order`` is that of the class. ``target`` is the
    last region by default.
    """
    root = Path(root).expanduser()
    path, content = root / DATASET, _read(root)
    try:
        values = _values_by_name(content["labels"])
        if "ignore" in values:
            raise ValueError("the label ignore is not supported; relabel its voxels and remove it")
        background = next((name for name, ids in values.items() if ids == [0]), None)
        if background is None:
            raise ValueError("labels must name the value 0, the background")
        regions = {name: ids for name, ids in values.items() if name != background}
        named = {0: background} | _class_names(regions, content)
        return Labels(
            classes=[named[value] for value in sorted(named)],
            regions={region: [named[value] for value in ids] for region, ids in regions.items()},
            target=list(regions)[-1] if target is None and regions else str(target),
            values=named,
        )
    except (TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"{path}: its labels cannot be read ({error!r}); correct them") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _values_by_name(labels: Mapping[str, Any]) -> dict[str, list[int]]:
    """Return the values of each name, from ``{name: value or values}`` or ``{value: name}``."""
    pairs = [
        (v, [k]) if isinstance(v, str) else (k, v if isinstance(v, list) else [v])
        for k, v in labels.items()
    ]
    out = {re.sub(r"[\s-]+", "_", name): [int(value) for value in values] for name, values in pairs}
    if len(out) < len(pairs):
        raise ValueError(f"labels={[name for name, _ in pairs]}: must be different names")
    return out


def _class_names(regions: Mapping[str, Sequence[int]], content: Mapping[str, Any]) -> dict[int, str]:
    """Return the name of each value, without the background."""
    if all(len(ids) == 1 for ids in regions.values()):
        return {ids[0]: name for name, ids in regions.items()}
    order = content.get("regions_class_order")
    if not isinstance(order, list) or not len(order) == len({*order}) == len(regions):
        raise ValueError(f"regions_class_order={order}: must be one value for each of {list(regions)}")
    named = dict(zip(order, regions, strict=True))
    return {v: named.get(v, f"label_{v}") for ids in regions.values() for v in ids}


def _read(root: Path) -> dict[str, Any]:
    path = root / DATASET
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        problem = f"contains no {DATASET}" if root.is_dir() else "does not exist"
        raise ValueError(
            f"{root}: {problem}; set the folder of a data set in nnU-Net's layout"
        ) from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); export it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: is a {type(content).__name__}, not an object; export it again")
    return content


def _check_format(path: Path, content: Mapping[str, Any]) -> None:
    channels = content.get("channel_names", content.get("modality", {}))
    if len(channels) > 1:
        names = ", ".join(map(str, channels.values()))
        raise ValueError(f"{path}: has {len(channels)} channels ({names}); keep the CT alone")
    if (ending := content.get("file_ending", ENDINGS[0])) not in ENDINGS:
        raise ValueError(f"{path}: file_ending={ending}: must be .nii.gz or .nii; convert the files")


def _check_names(path: Path, content: Mapping[str, Any], labels: Labels) -> None:
    """Raise `ValueError` if the labels give a value another name than ``dataset.json``.

    The spelling may differ. If the labels have ``values``, these may merge and rename classes.
    """
    try:
        values = _values_by_name(content.get("labels", {}))
    except ValueError as error:
        raise ValueError(f"{path}: its labels cannot be read ({error}); correct them") from error
    shared = [value for ids in values.values() for value in ids]
    own = {spelled(name) for name in labels.classes}
    for name, ids in values.items():
        for value in ids:
            # Value 0 is the background, and a value of several regions has the names of all.
            if value > 0 and value in labels.stored and shared.count(value) == 1:
                read = labels.classes[labels.stored[value]]
                is_renamed = labels.values is not None and spelled(name) not in own
                if spelled(name) != spelled(read) and not is_renamed:
                    raise ValueError(
                        f"{path}: value {value} is {name}, but the labels read it as {read}; set "
                        "labels=nnunet, or labels of your own with values"
                    )


def spelled(name: str) -> str:
    """Return what the spellings of a name have in common, such as Tumors and tumour."""
    return re.sub(r"[\W_]", "", name.lower()).replace("tumour", "tumor").rstrip("s")


def _is_list(content: Mapping[str, Any]) -> bool:
    """Whether the cases are listed, as by version 1 and the Decathlon."""
    return "training" in content and "channel_names" not in content


def _in_folders(root: Path, content: Mapping[str, Any]) -> list[tuple[str, Path, Path]]:
    """Return the training cases of version 2: id, image and label."""
    if "dataset" in content:  # files anywhere
        files = content["dataset"].items()
        return [(name, root / case["images"][0], root / case["label"]) for name, case in files]
    ending = content.get("file_ending", ENDINGS[0])
    images = _images_in(root / IMAGES, ending)
    named = {path.name for path in images.values()}
    files = sorted(path.name for path in (root / IMAGES).glob("[!.]*") if nifti_ending(path.name))
    if others := [name for name in files if name not in named]:
        problem = f"{shown(others)} must be named like NAME{CHANNEL}{ending}"
        raise ValueError(f"{root / IMAGES}: {problem}; rename it, or correct file_ending in {DATASET}")
    known = {path.name for path in (root / LABELS).glob(f"[!.]*{ending}")}
    wanted = {f"{name}{ending}" for name in images}
    if alone := sorted(known - wanted):
        raise ValueError(f"{root / LABELS}: no image for {shown(alone)}; add it, or remove the label")
    if missing := sorted(wanted - known):
        remedy = f"add it, or move its image to {TEST_IMAGES}"
        raise ValueError(f"{root / LABELS}: {shown(missing)} is missing; {remedy}")
    return [(name, image, root / LABELS / f"{name}{ending}") for name, image in images.items()]


def _images_in(folder: Path, ending: str) -> dict[str, Path]:
    """Return the images ``NAME_0000`` of a folder by name."""
    images = {}
    for path in sorted(folder.glob(f"[!.]*_[0-9][0-9][0-9][0-9]{ending}")):
        name, channel = path.name[: -len(ending) - len(CHANNEL)], path.name[: -len(ending)][-5:]
        if channel != CHANNEL:
            raise ValueError(f"{path}: is another channel; keep {CHANNEL}, the CT, alone")
        images[name] = path
    return images


def _listed(root: Path, content: Mapping[str, Any]) -> list[tuple[str, Path, Path]]:
    """Return the training cases that version 1 and the Decathlon list: id, image and label.

    Raises `ValueError` if ``labelsTr`` has a file that is not listed.
    """
    cases = []
    for entry in content["training"]:
        label = root / entry["label"]
        name, image = _named(root / entry["image"])
        cases.append((_stem(label) if name == f"{_stem(label)}{CHANNEL}" else name, image, label))
    found = {path.name for ending in ENDINGS for path in (root / LABELS).glob(f"[!.]*{ending}")}
    if extra := sorted(found - {label.name for _, _, label in cases}):
        problem = f"training does not list {shown(extra)} of {LABELS}"
        raise ValueError(f"{root / DATASET}: {problem}; list it, or move it to another folder")
    return cases


def _named(image: Path) -> tuple[str, Path]:
    """Return the id and the file of a listed image; version 1 lists it without its channel."""
    name = _stem(image)
    with_channel = image.with_name(image.name.replace(name, f"{name}{CHANNEL}", 1))
    return name, with_channel if with_channel.is_file() and not image.is_file() else image


def _test_images(root: Path, content: Mapping[str, Any]) -> dict[str, Path]:
    if listed := content.get("test") if _is_list(content) else None:
        return dict(_named(root / image) for image in listed)
    return _images_in(root / TEST_IMAGES, content.get("file_ending", ENDINGS[0]))


def _stem(path: Path) -> str:
    return path.name.removesuffix(nifti_ending(path.name) or "")
