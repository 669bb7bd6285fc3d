"""`cases=` of `kitsseg.predict`: ids of any input, and numbers of KiTS."""

from pathlib import Path

import pytest

from kitsseg.data.case import Case
from tests.helpers.predicting import predict, rows
from tests.helpers.sources import link, table


@pytest.fixture
def folder(block_cases: list[Case], tmp_path: Path) -> Path:
    """Images of several sources: nnU-Net's, KiTS23's, and one whose name is a number."""
    for name in ("liver_001_0000", "liver_002_0000", "case_00450", "7", "KiTS_00003"):
        link(block_cases[0].image, tmp_path / "in" / f"{name}.nii.gz")
    (tmp_path / "in" / "broken.nii.gz").symlink_to("nowhere")
    return tmp_path / "in"


@pytest.mark.parametrize(
    ("cases", "names"),
    [
        ("liver_002", ["liver_002"]),
        ("[liver_001,7]", ["7", "liver_001"]),
        ("[450,liver_001]", ["case_00450", "liver_001"]),
        ("[case_00450,400-449]", None),
        ("case_00003", ["KiTS_00003"]),
        ("[3,KiTS_00003]", ["KiTS_00003"]),
    ],
)
def test_ids_and_numbers(
    guesser: Path, folder: Path, tmp_path: Path, cases: str, names: list[str] | None
) -> None:
    code = predict(guesser, folder, tmp_path / "out", f"cases={cases}", "quicklook=false")
    found = {name: row["problem"] for name, row in rows(tmp_path / "out").items()}
    if names is None:
        missing = {name for name, problem in found.items() if problem.endswith("not in the input")}
        assert code == 1 and len(missing) == 50 and set(found) - missing == {"case_00450"}
    else:
        assert code == 0 and found == dict.fromkeys(names, "")


@pytest.mark.parametrize(
    ("cases", "problem"),
    [
        ("liver_0002", "cases=liver_0002: the input has no such case; did you mean liver_002?"),
        (
            "[liver_001,spleen]",
            "cases=spleen: the input has no such case (7, KiTS_00003, broken, case_0",
        ),
        ("300", "cases=300: must be within 0-299 or 400-588"),
        ("41-40", "cases=41-40: must be labelled, test, all, a number, a range"),
    ],
)
def test_unknown_ids_are_one_line(
    guesser: Path, folder: Path, tmp_path: Path, cases: str, problem: str
) -> None:
    with pytest.raises(ValueError) as error:
        predict(guesser, folder, tmp_path / "out", f"cases={cases}")
    assert str(error.value).startswith(problem) and "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_case_that_cannot_be_read_is_a_problem(guesser: Path, folder: Path, tmp_path: Path) -> None:
    assert predict(guesser, folder, tmp_path / "out", "cases=[broken,7]", "quicklook=false") == 1
    found = rows(tmp_path / "out")
    assert set(found) == {"7", "broken"} and "broken.nii.gz" in found["broken"]["problem"]
    # Its problem leaves the record when it is fixed, and stays when another case is predicted.
    link_of = folder / "broken.nii.gz"
    assert predict(guesser, folder, tmp_path / "out", "cases=liver_001", "skip_existing=true",
                   "quicklook=false") == 0  # fmt: skip
    assert rows(tmp_path / "out")["broken"]["problem"]
    link_of.unlink()
    link(folder / "7.nii.gz", link_of)
    assert predict(guesser, folder, tmp_path / "out", "cases=broken", "skip_existing=true",
                   "quicklook=false") == 0  # fmt: skip
    assert not rows(tmp_path / "out")["broken"]["problem"]


def test_cases_of_a_table(guesser: Path, block_cases: list[Case], tmp_path: Path) -> None:
    path = table(tmp_path / "cases.csv", [[name, block_cases[0].image, ""] for name in ("a01", "b 2")])
    assert predict(guesser, path, tmp_path / "out", "cases=[b 2]", "quicklook=false") == 0
    assert set(rows(tmp_path / "out")) == {"b 2"}
    mine = path.rename(tmp_path / "volumes.csv")
    text = mine.read_text()
    with pytest.raises(ValueError, match="would overwrite .*volumes.csv; name another folder"):
        predict(guesser, mine, tmp_path)
    assert mine.read_text() == text
