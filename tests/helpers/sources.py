"""The crude cases in other layouts, as links: nnU-Net's, the Decathlon's, and a table."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kitsseg.data.case import Case

LABELS = {"background": 0, "kidney": 1, "tumour": 2}


def link(file: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(file)
    return target


def write_json(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def nnunet(root: Path, cases: Sequence[Case], **changes: Any) -> Path:
    """Link cases as nnU-Net v2 stores them; ``changes`` are those of dataset.json."""
    for case in cases:
        link(case.image, root / "imagesTr" / f"{case.id}_0000.nii.gz")
        link(case.label, root / "labelsTr" / f"{case.id}.nii.gz")
    content = {
        "channel_names": {"0": "CT"}, "labels": LABELS, "numTraining": len(cases),
        "file_ending": ".nii.gz",
    }  # fmt: skip
    write_json(root / "dataset.json", {**content, **changes})
    return root


def decathlon(root: Path, cases: Sequence[Case], channel: str = "", **changes: Any) -> Path:
    """Link cases as the Decathlon lists them, or, with the channel ``_0000``, nnU-Net v1."""
    listed = []
    for case in cases:
        link(case.image, root / "imagesTr" / f"{case.id}{channel}.nii.gz")
        link(case.label, root / "labelsTr" / f"{case.id}.nii.gz")
        name = f"{case.id}.nii.gz"
        listed.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    content = {
        "modality": {"0": "CT"}, "labels": {"0": "background", "1": "kidney", "2": "tumour"},
        "numTraining": len(cases), "numTest": 0, "training": listed, "test": [],
    }  # fmt: skip
    write_json(root / "dataset.json", {**content, **changes})
    return root


def table(path: Path, rows: Sequence[Sequence[object]], header: str = "id,image,label") -> Path:
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path
