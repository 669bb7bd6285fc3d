"""Cases of a folder and of a data set."""

import shutil
from pathlib import Path

import pytest

from kitsseg.data.case import IMAGE_NAME, LABEL_NAME, Case
from kitsseg.data.labels import KITS19, Labels
from kitsseg.data.sources.kits import Kits19, missing_files, parse_cases


def test_missing_data_are_explained(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"does not exist.*kitsseg.download root=.*data=phantom"):
        Kits19().find(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="contains no folder case_XXXXX"):
        Kits19().find(tmp_path)
    with pytest.raises(ValueError, match="see https://x.org"):
        Kits19(origin="https://x.org").find(tmp_path)


def test_a_checkout_of_the_official_repository_is_found(blocks: Path, tmp_path: Path) -> None:
    shutil.copytree(blocks, tmp_path / "kits19" / "data")
    assert len(Kits19().find(tmp_path / "kits19")) == 6


@pytest.mark.parametrize(
    ("cases", "numbers"),
    [
        ("labelled", list(range(210))),
        ("test", list(range(210, 300))),
        ("all", list(range(300))),
        (7, [7]),
        ("0-3", [0, 1, 2, 3]),
        ([5, "1-2", 0, 5], [0, 1, 2, 5]),
    ],
)
def test_cases_are_selected(cases: object, numbers: list[int]) -> None:
    assert parse_cases(cases) == numbers


@pytest.mark.parametrize(
    ("cases", "problem"),
    [
        (300, "cases=300: must be within 0-299"),
        ("41-0", "cases=41-0: must be labelled, test, all, a number, a range"),
        ("some", "cases=some: must be"),
        ([0, -1], "cases=-1: must be"),
        ([], "at least one case"),
        (None, "cases=None: must be"),
    ],
)
def test_a_wrong_selection_is_refused(cases: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_cases(cases)


def test_numbers_are_checked() -> None:
    for wrong in ("5-3", "x", "-1", "123456", ""):
        with pytest.raises(ValueError, match=f"'{wrong}' must be a case number or an ascending range"):
            Kits19(numbers=["0-9", wrong])
    with pytest.raises(ValueError, match=r"test=8-10: must be within numbers=\['0-9'\]"):
        Kits19(numbers=["0-9"], test="8-10")
    numbers = Kits19(numbers=["7", "0-3", "9"], test="3").numbers
    assert str(numbers) == "0-3 or 7 or 9" and numbers.choose("labelled") == [0, 1, 2, 7, 9]
    assert numbers.choose("2-7") == [2, 3, 7] and numbers.choose("test") == [3]


CYSTS = Labels(("background", "kidney", "tumour", "cyst"), {"tumour": ["tumour"]}, "tumour")


def test_extra_values_count_unless_the_labels_name_them(blocks: Path) -> None:
    kits23 = Kits19(extra_values={3: "kidney"})
    assert kits23.find(blocks)[0].stored == {0: 0, 1: 1, 2: 2, 3: 1}
    assert kits23.find(blocks, CYSTS)[0].stored == {0: 0, 1: 1, 2: 2, 3: 3}
    assert Kits19().find(blocks)[0].stored == {0: 0, 1: 1, 2: 2}
    with pytest.raises(
        ValueError, match="extra_values: liver must be one of background, kidney, tumour"
    ):
        Kits19(extra_values={3: "liver"}).find(blocks)


def test_test_cases_have_no_label(blocks: Path, tmp_path: Path) -> None:
    shutil.copytree(blocks, tmp_path / "raw")
    (tmp_path / "raw" / "case_00003" / "segmentation.nii.gz").unlink()
    source = Kits19(test="3-4")
    assert [case.id for case in source.cases(tmp_path / "raw") if case.is_test] == ["case_00003"]
    assert "case_00003" not in [case.id for case in source.find(tmp_path / "raw")]


def test_extra_values_survive_json() -> None:
    """Jobs of a sweep read their configuration from JSON, in which keys are text."""
    assert Kits19(extra_values={"3": "kidney"}).stored(KITS19) == {0: 0, 1: 1, 2: 2, 3: 1}  # type: ignore[dict-item]


def test_labels_that_merge_extra_values() -> None:
    values = {0: "background", 1: "background", 2: "tumour", 3: "background"}
    labels = Labels(["background", "tumour"], {"tumour": ["tumour"]}, "tumour", values=values)
    assert Kits19(extra_values={3: "kidney"}).stored(labels) == labels.stored
    other = Labels(["background", "organ"], {"organ": ["organ"]}, "organ")
    with pytest.raises(ValueError, match="kidney must be one of .*; or name the values 3 in labels.val"):
        Kits19(extra_values={3: "kidney"}).stored(other)


def test_a_source_of_the_users_own_may_have_any_ids(blocks: Path, tmp_path: Path) -> None:
    folder = blocks / "case_00000"
    assert missing_files(Case("p1", folder / IMAGE_NAME, folder / LABEL_NAME)) == []
    (line,) = missing_files(Case("p1", tmp_path / "x.nii.gz", folder / LABEL_NAME))
    assert line.endswith("x.nii.gz: is missing; add it")
