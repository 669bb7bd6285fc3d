"""Which cases a folder holds, and a data set has."""

import shutil
from pathlib import Path

import pytest

from kitsseg.data.sources.kits import Kits19


def test_missing_data_says_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"does not exist.*kitsseg.download root=.*data=phantom"):
        Kits19().find(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no case_XXXXX folder"):
        Kits19().find(tmp_path)


def test_another_source_says_where_its_data_come_from(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="https://x.org says how to fetch its cases. To try"):
        Kits19(origin="https://x.org").find(tmp_path)


def test_a_checkout_of_the_official_repository_is_found(blocks: Path, tmp_path: Path) -> None:
    shutil.copytree(blocks, tmp_path / "kits19" / "data")
    assert len(Kits19().find(tmp_path / "kits19")) == 6


def test_numbers_are_checked() -> None:
    for wrong in ("5-3", "x", "-1", "123456", ""):
        with pytest.raises(ValueError, match=f"{wrong} must be a case's number or a range"):
            Kits19(numbers=["0-9", wrong])
    with pytest.raises(ValueError, match=r"test=8-10: must lie in numbers=\['0-9'\]"):
        Kits19(numbers=["0-9"], test="8-10")
    numbers = Kits19(numbers=["7", "0-3", "9"], test="3").numbers
    assert str(numbers) == "0-3 or 7 or 9" and numbers.choose("labelled") == [0, 1, 2, 7, 9]
    assert numbers.choose("2-7") == [2, 3, 7] and numbers.choose("test") == [3]


@pytest.mark.parametrize(
    ("classes", "text"),
    [([0, 1], "must give each of"), ([0, 1, 2, 3], "no other"), ([1, 0, 2], "begin with 0")],
)
def test_a_mapping_of_classes_is_checked(classes: list[int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Kits19(classes=classes)
