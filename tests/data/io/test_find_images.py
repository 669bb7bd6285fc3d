"""`kitsseg.data.io.find_images`: which files are found, and the names of their results."""

from pathlib import Path

import pytest

from kitsseg.data.io.find_images import find_images
from kitsseg.data.sources.kits import Kits19


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
    assert len(find_images(tmp_path).others) == 1001 and not find_images(tmp_path).problems


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
    assert found.problems["KiTS_00211_0001"].endswith("is another channel; CT has only _0000")


def test_results_of_one_name(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii", "a.nii.gz", "b_0000.nii.gz", "b.nii.gz", "scan_2019.nii.gz")
    found = find_images(tmp_path)
    assert [s.name for s in found.scans] == ["scan_2019"]
    others = {
        "a.nii": "a.nii.gz",
        "a.nii.gz": "a.nii",
        "b.nii.gz": "b_0000.nii.gz",
        "b_0000.nii.gz": "b.nii.gz",
    }
    assert found.problems == {
        str(tmp_path / name): f"{tmp_path / name}: its results would be named {name[0]}, as those of "
        f"{tmp_path / other}; rename one"
        for name, other in others.items()
    }


@pytest.mark.parametrize(("one", "two"), [("CT", "ct"), ("Stra\xdfe", "strasse"), ("\xfc", "u\u0308")])
def test_results_that_a_file_system_may_not_distinguish(tmp_path: Path, one: str, two: str) -> None:
    touch(tmp_path, f"{one}.nii.gz", f"{two}.nii", "x.nii")
    found, path = find_images(tmp_path), tmp_path / f"{two}.nii"
    assert [s.name for s in found.scans] == ["x"]
    assert found.problems[str(path)] == (
        f"{path}: its results would be named {two}, those of {tmp_path / one}.nii.gz {one}, "
        "which some file systems do not distinguish; rename one"
    )


def test_a_case_without_an_image(tmp_path: Path) -> None:
    for label in ("segmentation.nii.gz", "segmentation.nii", "aggregated_MAJ_seg.nii.gz"):
        touch(tmp_path / label, f"case_00000/{label}")
        folder = tmp_path / label / "case_00000"
        image = folder / "imaging.nii.gz"
        for path in (folder, tmp_path / label):
            assert find_images(path).problems == {
                "case_00000": f"{image}: is missing; fetch it, or give the image of the case this name"
            }
        image.symlink_to("nosuch")
        (problem,) = find_images(folder).problems.values()
        assert problem.startswith(f"{image}: is a link to nosuch") and not find_images(folder).scans
    touch(tmp_path, "case_00007/ct.nii.gz", "case_00007/segmentation.nii.gz")
    assert names(tmp_path / "case_00007") == ["ct.nii.gz", "segmentation.nii.gz"]


def test_links_keep_the_name_of_the_path(tmp_path: Path) -> None:
    """DataLad and git-annex link files to objects named after their content."""
    for number in (4, 5):
        touch(tmp_path, f"objects/MD5E-{number}.nii.gz", f"store/patient{number}/imaging.nii.gz")
        folder = tmp_path / f"annex/case_0000{number}"
        folder.mkdir(parents=True)
        (folder / "imaging.nii.gz").symlink_to(tmp_path / f"objects/MD5E-{number}.nii.gz")
        (tmp_path / "linked").mkdir(exist_ok=True)
        (tmp_path / f"linked/case_0000{number}").symlink_to(tmp_path / f"store/patient{number}")
    for folder in ("annex", "linked"):
        assert names(tmp_path / folder) == ["case_00004.nii.gz", "case_00005.nii.gz"]
        assert names(tmp_path / folder / "case_00004") == ["case_00004.nii.gz"]


def test_a_link_to_nowhere_is_a_problem(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii.gz")
    (tmp_path / "b.nii.gz").symlink_to(tmp_path / "nosuch")
    found = find_images(tmp_path)
    assert [s.name for s in found.scans] == ["a"]
    assert "is a link to" in found.problems["b"]
    touch(tmp_path, "b.nii")
    (tmp_path / "b.NII").symlink_to(tmp_path / "nosuch")
    found = find_images(tmp_path)
    assert [s.name for s in found.scans] == ["a", "b"]
    assert set(found.problems) == {str(tmp_path / "b.nii.gz"), str(tmp_path / "b.NII")}


def test_upper_case_and_unzipped_files(tmp_path: Path) -> None:
    touch(tmp_path, "a/CT.NII.GZ", "a/x.Nii", "b/case_00001/imaging.nii")
    assert names(tmp_path / "a") == ["CT.nii.gz", "x.nii"]
    assert names(tmp_path / "b") == ["case_00001.nii"]


def test_a_folder_named_nearly_like_a_case(tmp_path: Path) -> None:
    touch(tmp_path, "case_00001/imaging.nii.gz", "case_15/imaging.nii.gz")
    with pytest.raises(ValueError, match="case_15: is not a case id; rename it, .*case_00015"):
        find_images(tmp_path)
    with pytest.raises(ValueError, match="case_15: is not a case id"):
        Kits19().find(tmp_path)
    touch(tmp_path, "Case_00004/imaging.nii.gz")
    with pytest.raises(ValueError, match="Case_00004.*\n.*case_15: is not a case id"):
        Kits19().find(tmp_path)  # all of them at once


def test_nothing_there(tmp_path: Path) -> None:
    touch(tmp_path, "x.txt")
    with pytest.raises(ValueError, match="contains no .nii"):
        find_images(tmp_path)


def test_volumes_in_subfolders_are_named(tmp_path: Path) -> None:
    """Such as a data set in nnU-Net's layout."""
    (tmp_path / "imagesTs").mkdir()
    (tmp_path / "imagesTs" / "a_0000.nii.gz").write_bytes(b"")
    with pytest.raises(ValueError, match="its NIfTI files are in subfolders, such as .*imagesTs; pass"):
        find_images(tmp_path)
