"""One place turns files into HU, so every command gives the same problem for the same file."""

import ast
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import pytest

from kitsseg.data.case import Case
from kitsseg.data.io.find_images import find_images
from kitsseg.data.io.read_scan import read_scan
from kitsseg.data.sources.inspection import inspect
from kitsseg.data.store.prepare import BadCasesError, prepare
from kitsseg.inference.checkpoint import Loaded
from kitsseg.inference.segmenter import Segmenter
from kitsseg.models.unet import UNet
from kitsseg.models.window import Window
from tests import ROOT
from tests.conftest import AFFINE, blocky, write_case
from tests.data.io.test_hu_checks import REFUSED
from tests.data.io.test_malformed import MALFORMED

READERS = {"read_nifti", "read_series"}
IMAGES = {kind: spoil for kind, (spoil, file, _) in MALFORMED.items() if file == "imaging"}
KINDS: dict[str, Callable[[Case], object]] = IMAGES | {
    kind: spoil for kind, (spoil, _) in REFUSED.items()
}


def test_one_module_reads_volumes() -> None:
    importing = {
        path.name
        for path in (ROOT / "kitsseg").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and READERS & {alias.name for alias in node.names}
    }
    assert importing == {"read_scan.py"}


def first_problem(action: Callable[[], object]) -> str:
    """Return the problem without the remedy, which depends on where the file comes from."""
    with pytest.raises((ValueError, BadCasesError)) as refusal:
        action()
    return str(refusal.value).rpartition(";")[0]


@pytest.mark.parametrize("kind", KINDS)
def test_every_command_gives_the_same_problem(tmp_path: Path, kind: str) -> None:
    case = write_case(tmp_path / "raw", 0, *blocky(0))
    nib.save(nib.Nifti1Image(blocky(0)[1], AFFINE), case.label)
    KINDS[kind](case)
    if not case.image.is_file():
        return  # `verify` and `predict` say how to get it before they read it

    def predict() -> None:
        found = find_images(case.image.parent)
        read_scan(found.scans[0])

    segmenter = Segmenter(
        [Loaded(UNet(width=2, depth=2).eval(), Window(-79, 304, 101, 77), None, 0, {})]
    )
    problems = {
        "verify": inspect(case).problems[0].rpartition(";")[0],
        "prepare": first_problem(lambda: prepare([case], tmp_path / "store", None)),
        "predict": first_problem(predict),
        "Segmenter": first_problem(lambda: segmenter(case.image)),
    }
    assert len(set(problems.values())) == 1, problems
    assert problems["predict"].startswith(f"{case.image}: ")
