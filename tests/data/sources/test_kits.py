"""Cases of a folder and of a data set."""

import shutil
from pathlib import Path

import pytest

from kitsseg.data.labels import Labels
from kitsseg.data.sources.kits import Kits19, parse_cases


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
