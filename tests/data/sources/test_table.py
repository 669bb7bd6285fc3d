"""A table of cases."""

from pathlib import Path

import pytest

from kitsseg.data.case import Case
from kitsseg.data.sources.table import Table
from tests.helpers.sources import link, table


@pytest.fixture
def folder(block_cases: list[Case], tmp_path: Path) -> Path:
    """A folder with two images and labels."""
    for i, case in enumerate(block_cases[:2]):
        link(case.image, tmp_path / f"i{i}.nii.gz")
        link(case.label, tmp_path / "labels" / f"l{i}.nii.gz")
    return tmp_path


def test_paths_columns_and_test_cases(folder: Path, block_cases: list[Case]) -> None:
    rows = [
        ["Ärztin 7", "i1.nii.gz", "labels/l1.nii.gz", "p2", ""],
        ["b", block_cases[3].image, "", "p1", "test"],
        ["", " ", "", "", ""],
        [" a ", block_cases[4].image, block_cases[4].label, "p1", "train"],
    ]
    path = table(folder / "cases.csv", rows, "ID,image, Label,Patient,split")
    cases = Table(offset_hu=-1024).cases(path)
    assert [case.id for case in cases] == ["a", "b", "Ärztin 7"]
    assert cases[0].about == {"patient": "p1", "split": "train"} and cases[0].offset_hu == -1024
    assert cases[0].image == block_cases[4].image and cases[1].label is None
    assert cases[2].label == folder / "labels" / "l1.nii.gz" and cases[2].label.is_file()
    assert [case.id for case in Table().find(path)] == ["a", "Ärztin 7"]


def test_a_case_of_the_test_set_is_never_trained_on(folder: Path) -> None:
    rows = [["a", "i0.nii.gz", "labels/l0.nii.gz", "test"], ["b", "i1.nii.gz", "labels/l1.nii.gz", ""]]
    path = table(folder / "cases.csv", rows, "id,image,label,split")
    assert [case.id for case in Table().find(path)] == ["b"]
    with pytest.raises(ValueError, match="contains no training cases"):
        Table().find(table(folder / "cases.csv", rows[:1], "id,image,label,split"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encodings_and_ends_of_lines(folder: Path, encoding: str, end: str) -> None:
    text = f'id,image,label{end}"Größe, 1",i0.nii.gz,labels/l0.nii.gz{end}'
    (folder / "cases.csv").write_bytes(text.encode(encoding))
    assert [case.id for case in Table().find(folder / "cases.csv")] == ["Größe, 1"]


GOOD = "a,i0.nii.gz,labels/l0.nii.gz"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("id,image\na,i0.nii.gz", "lacks the column label; add it to the first line"),
        ("a,b\n1,2", "lacks the column id, image, label; add"),
        ("id;image;label\na;i0.nii.gz;x", "its delimiter is a semicolon; save it with commas"),
        ('"id"\t"image"\t"label"\n', "its delimiter is a tab; save it with commas"),
        ("", "lacks the column id, image, label"),
        ("id,image,label\n,,\n", "contains no cases; add one row per case"),
        ("id,image,label,Label\n", "must be different names; rename one"),
        (f"id,image,label\n{GOOD},x\n", "row 2 has 4 values, the first line 3; put values with commas"),
        ("id,image,label\n\na,i0.nii.gz\n", "row 3 has 2 values, the first line 3"),
        (f"id,image,label\n{GOOD}\n{GOOD}\n", "case id 'a': is listed twice; rename one"),
        (f"id,image,label\n{GOOD}\nA{GOOD[1:]}\n", "case id 'A': differs from 'a' in case only"),
        ("id,image,label\na,,x\n", "case a: has no image; add its path"),
        (
            f"id,image,label,split\n{GOOD},val\n",
            "case a: split=val: must be one of train, validation, t",
        ),
        (
            "id,image,label\n" + "".join(f"{i},i{i}.nii.gz,l\n" for i in range(5)),
            r"8 of 10 files are missing: .*/l, .*/l, .*/i2.nii.gz and 5 more; add them, or remove",
        ),
        ("id,image,label\na,labels,\n", "1 of 1 files are missing: .*/labels;"),
        *(
            (f'id,image,label\n"{name}",i0.nii.gz,\n', "must be a file name of 1 to 200 printable bytes")
            for name in ("a/b", "..", ".", "a\\b", "a\tb", "a\nb", "a" * 201, ".a", "")
        ),
    ],
)
def test_a_wrong_table_is_one_line(folder: Path, text: str, problem: str) -> None:
    (folder / "cases.csv").write_text(text)
    with pytest.raises(ValueError, match=problem) as error:
        Table().cases(folder / "cases.csv")
    assert "\n" not in str(error.value) and str(error.value).startswith(f"{folder / 'cases.csv'}: ")


def test_files_that_are_no_table(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"^[^=]*none.csv: cannot be read \(No such file"):
        Table().cases(folder / "none.csv")
    with pytest.raises(ValueError, match="^[^=]*: is a folder, not a file"):
        Table().cases(folder)
    (folder / "cases.csv").write_bytes(b"\x81\x8d\x8f\x90")
    with pytest.raises(ValueError, match="is not a text file; save it as CSV in UTF-8"):
        Table().cases(folder / "cases.csv")
    (folder / "cases.csv").write_text(f'id,image,label\n"{"a" * 200_000}",b,c')
    with pytest.raises(ValueError, match="is not a CSV file"):
        Table().cases(folder / "cases.csv")
