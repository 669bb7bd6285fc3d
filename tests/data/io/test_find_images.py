"""`kitsseg.data.io.find_images`: which files are found, and the names of their results."""

from pathlib import Path

import pytest

from kitsseg.data.io.find_images import find_images


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names(path: Path) -> list[str]:
    return [f"{scan.name}{scan.ending}" for scan in find_images(path).scans]


def test_a_file(tmp_path: Path) -> None:
    touch(tmp_path, "a.b.nii.gz", "c_0000.nii", "case_00007/imaging.nii.gz", "x.txt")
    assert names(tmp_path / "a.b.nii.gz") == ["a.b.nii.gz"]
    assert names(tmp_path / "c_0000.nii") == ["c.nii"]
    assert names(tmp_path / "case_00007/imaging.nii.gz") == ["case_00007.nii.gz"]
    assert names(tmp_path / "case_00007") == ["case_00007.nii.gz"]
    with pytest.raises(ValueError, match="x.txt: must be .nii or .nii.gz; for DICOM, pass the"):
        find_images(tmp_path / "x.txt")
    with pytest.raises(ValueError, match="nosuch: no such file or folder"):
        find_images(tmp_path / "nosuch")


def test_a_folder_among_much_else(tmp_path: Path) -> None:
    touch(tmp_path, "b.nii", "a.nii.gz", ".c.nii.gz-17", ".d.nii", "folder.nii/x")
    touch(tmp_path, *(f"{n}.dat" for n in range(1000)))
    assert names(tmp_path) == ["a.nii.gz", "b.nii"]
    assert find_images(tmp_path).others == 1000 and not find_images(tmp_path).problems


@pytest.mark.parametrize("inner", ["", "data/"])
def test_kits19(tmp_path: Path, inner: str) -> None:
    touch(
        tmp_path, *(f"{inner}case_00{n:03}/imaging.nii.gz" for n in (210, 12)), "README.md", "x.nii.gz"
    )
    touch(tmp_path, f"{inner}case_00013/segmentation.nii.gz")
    assert names(tmp_path) == ["case_00012.nii.gz", "case_00210.nii.gz"]
    assert list(find_images(tmp_path).problems) == ["case_00013"]
    assert "imaging.nii.gz: is missing" in find_images(tmp_path).problems["case_00013"]


def test_nnunet(tmp_path: Path) -> None:
    touch(tmp_path, "KiTS_00210_0000.nii.gz", "KiTS_00211_0000.nii.gz", "KiTS_00211_0001.nii.gz")
    found = find_images(tmp_path)
    assert [(s.name, s.number) for s in found.scans] == [("KiTS_00210", 210), ("KiTS_00211", 211)]
    assert found.problems["KiTS_00211_0001.nii.gz"].endswith("is another channel; CT has only _0000")


def test_results_of_one_name(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii", "a.nii.gz", "b_0000.nii.gz", "b.nii.gz", "scan_2019.nii.gz")
    found = find_images(tmp_path)
    assert sorted(s.name for s in found.scans) == ["a", "b", "scan_2019"]
    assert {name: text.split(": ")[1] for name, text in found.problems.items()} == {
        "a.nii.gz": "its results would have the same name as those of a.nii; rename one",
        "b_0000.nii.gz": "its results would have the same name as those of b.nii.gz; rename one",
    }


def test_nothing_there(tmp_path: Path) -> None:
    touch(tmp_path, "x.txt")
    with pytest.raises(ValueError, match="contains no .nii"):
        find_images(tmp_path)
