"""`postprocess=` of `kitsseg.evaluate`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from kitsseg.config.validation import CONFIG_DIR
from tests.helpers.commands import find_problems
from tests.helpers.evaluating import evaluate, record

pytest_plugins = ("tests.helpers.evaluating",)


class WithoutTumour:
    """A class of the user, which gets no labels."""

    def __call__(self, label: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
        return np.minimum(label, 1)


GIVEN = ["predictions=a", "truth=b", "output=c"]


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (
            ["postprocess=all", "postprocess.max_hole_ml=-1"],
            "max_hole_ml=-1: must be at least 0 and finite",
        ),
        (
            ["postprocess=all", "postprocess.regions.kidney.largest=0"],
            "regions.kidney.largest=0: must be an integer of at least 1, or null for all",
        ),
        (
            ["postprocess=kidneys", "+postprocess.regions.kidney.larges=2"],
            "regions.kidney.larges=2: no such rule; did you mean largest?",
        ),
        (
            ["postprocess=regions", "+postprocess.regions.kidny.largest=1"],
            "regions.kidny: the labels have no such region; did you mean postprocess.regions.kidney?",
        ),
        (
            ["postprocess=all", "labels=kits23"],
            "regions.kidney: the labels have no such region (kidney_and_masses, masses, tumour); set "
            "postprocess=regions and rules for your regions",
        ),
        (
            ["postprocess=regions", "postprocess.regions.tumour.min_ml=1"],
            "regions.tumour.min_ml: the configuration does not set it; add it with "
            "+postprocess.regions.tumour.min_ml=1",
        ),
    ],
)
def test_mistake_is_reported_in_one_line(overrides: list[str], problem: str) -> None:
    assert find_problems("evaluate", [*GIVEN, *overrides]) == [f"postprocess.{problem}"]


@pytest.mark.parametrize("choice", sorted(path.stem for path in CONFIG_DIR.glob("postprocess/*.yaml")))
def test_every_shipped_post_processing_is_valid_and_runs(
    choice: str, blocks: Path, predicted: Path, tmp_path: Path
) -> None:
    assert find_problems("evaluate", [*GIVEN, f"postprocess={choice}"]) == []
    given = [f"postprocess={choice}", "cases=0"]
    assert evaluate(predicted, blocks, tmp_path / "out", *given) == 0
    assert ("postprocessed" in record(tmp_path / "out")["cases"]["case_00000"]) == (choice != "none")


def test_a_class_of_the_user(tmp_path: Path, predicted: Path, blocks: Path) -> None:
    own = f"+postprocess={{_target_: {__name__}.WithoutTumour}}"
    assert evaluate(predicted, blocks, tmp_path / "out", own) == 0
    summary = record(tmp_path / "out")["summary"]
    assert summary["as_predicted"]["dice"]["tumour"]["mean"] > 0
    assert summary["postprocessed"]["dice"]["tumour"]["mean"] == 0
