"""NIfTI -> store: the right pixels in the right place, written once, and clear refusals."""

import errno
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Event

import cv2
import nibabel as nib
import numpy as np
import pytest

from kitsseg.data import prepare as prepare_module
from kitsseg.data.kits19 import Case, Kits19, list_cases
from kitsseg.data.prepare import is_current, prepare
from kitsseg.data.store import CARD, store_folder
from kitsseg.grid import Grid
from kitsseg.labels import AIR_HU
from kitsseg.locks import locked
from tests import powerless
from tests.conftest import AFFINE, blocky, write_case


def test_native_slices_are_the_files_voxels(block_cases: list[Case], tmp_path: Path) -> None:
    store = prepare(block_cases, tmp_path, None)
    for number in range(6):
        image, label = blocky(number)
        assert np.array_equal(store.images(number), image)
        assert np.array_equal(store.labels(number), label)
        assert store.images(number).dtype == np.int16 and store.labels(number).dtype == np.uint8


def test_index_counts_pixels(block_cases: list[Case], tmp_path: Path) -> None:
    index = prepare(block_cases, tmp_path, None).index
    assert index.case.tolist() == [c for c in range(6) for _ in range(6)]
    assert index.z.tolist() == list(range(6)) * 6
    assert index.foreground.reshape(6, 6).tolist() == [[0, 0, 1, 1, 1, 0]] * 6
    assert index.has_tumour.reshape(6, 6).tolist() == [[0, 0, 0, 1, 1, 0]] * 6
    assert index.pixels[3].tolist() == [64 * 64 - 320, 320 - 64, 64]


def test_written_once_and_again_when_a_file_changes(blocks: Path, tmp_path: Path) -> None:
    root = tmp_path / "raw"
    shutil.copytree(blocks, root)
    cases, folder = Kits19().find(root), tmp_path / "store"
    prepare(cases, folder, None)
    before = {c.id: os.stat(folder / c.id / CARD).st_mtime_ns for c in cases}
    shutil.rmtree(root / "case_00002")
    write_case(root, 2, *blocky(77))
    store = prepare(Kits19().find(root), folder, None)
    after = {c.id: os.stat(folder / c.id / CARD).st_mtime_ns for c in cases}
    assert [i for i in before if before[i] != after[i]] == ["case_00002"]
    assert np.array_equal(store.images(2), blocky(77)[0])
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]


def test_a_changed_label_is_prepared_again(blocks: Path, tmp_path: Path) -> None:
    root, folder = tmp_path / "raw", tmp_path / "store"
    shutil.copytree(blocks, root)
    cases = list_cases(root)
    prepare(cases, folder, None)
    path, label = cases[2].label, blocky(2)[1]
    was = path.stat()
    path.write_bytes(path.read_bytes() + b"\0")  # the same label, but who knows
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert [is_current(c, folder) for c in cases] == [c.id != "case_00002" for c in cases]
    nib.save(nib.Nifti1Image(np.minimum(label, 1), AFFINE), path)
    store = prepare(cases, folder, None)
    assert np.array_equal(store.labels(2), np.minimum(label, 1))
    later = path.stat().st_mtime_ns + 1
    os.utime(path, ns=(later, later))
    assert not is_current(cases[2], folder)


def test_another_mapping_of_classes_prepares_again(blocks: Path, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    before = prepare(Kits19().find(blocks), folder, None)
    assert np.array_equal(before.labels(0), blocky(0)[1])
    mapped = Kits19(classes=[0, 2, 1]).find(blocks)
    assert not any(is_current(case, folder) for case in mapped)
    assert np.array_equal(prepare(mapped, folder, None).labels(0), np.array([0, 2, 1])[blocky(0)[1]])


def test_workers_write_the_same_bytes(block_cases: list[Case], tmp_path: Path) -> None:
    for workers in (1, 2):
        prepare(block_cases, tmp_path / str(workers), 96, workers)
    files = sorted(p.relative_to(tmp_path / "1") for p in (tmp_path / "1").rglob("*") if p.is_file())
    assert len(files) == 18
    for file in files:
        assert (tmp_path / "1" / file).read_bytes() == (tmp_path / "2" / file).read_bytes()


def test_store_is_named_by_what_determines_it(tmp_path: Path) -> None:
    names = {
        store_folder(tmp_path, tmp_path / root, size).name
        for root in ("a/kits19", "b/kits19")
        for size in (None, 128, 256)
    }
    assert len(names) == 6


@pytest.mark.parametrize("size", [None, 64, 128])
def test_wide_slices_keep_their_aspect(size: int | None) -> None:
    grid = Grid((512, 796), size)
    rows, cols = grid.inside
    height, width = rows.stop - rows.start, cols.stop - cols.start
    assert grid.stored == ((512, 796) if size is None else (size, size))
    assert width == (796 if size is None else size)
    assert height / width == pytest.approx(512 / 796, abs=0.5 / width)
    label = np.ones((1, 512, 796), np.uint8)
    assert grid.fit_label(label).sum() == height * width


def test_shrinking_averages_and_votes() -> None:
    grid = Grid((4, 4), 2)
    image = np.arange(16, dtype=np.int16).reshape(1, 4, 4) * 10
    assert grid.fit_image(image)[0].tolist() == [[25, 45], [105, 125]]
    label = np.array([[[1, 1, 0, 0], [1, 0, 0, 2], [2, 2, 0, 0], [2, 1, 0, 0]]], np.uint8)
    assert grid.fit_label(label)[0].tolist() == [[1, 0], [2, 0]]


@pytest.mark.parametrize(
    ("native", "size"), [((64, 96), 32), ((60, 60), 20), ((64, 64), 32), ((50, 70), 32)]
)
def test_a_vote_is_that_of_the_whole_slice(native: tuple[int, int], size: int) -> None:
    grid = Grid(native, size)
    rng = np.random.default_rng(0)
    label = np.zeros((20, *native), np.uint8)
    for plane in label:
        for c in (1, 2):
            top, left = rng.integers(0, 40, 2)
            plane[top : top + rng.integers(1, 30), left : left + rng.integers(1, 30)] = c
    rows, cols = grid.inside
    for plane, fitted in zip(label, grid.fit_label(label), strict=True):
        shares = [
            cv2.resize((plane == c).astype(np.float32), grid.scaled[::-1], interpolation=cv2.INTER_AREA)
            for c in range(3)
        ]
        assert np.array_equal(fitted[rows, cols], np.argmax(shares, axis=0))
        assert fitted.sum() == fitted[rows, cols].sum()


def test_growing_interpolates() -> None:
    image = np.arange(36, dtype=np.int16).reshape(1, 6, 6) * 100
    grown = Grid((6, 6), 12).fit_image(image)
    assert np.array_equal(grown[0], cv2.resize(image[0], (12, 12), interpolation=cv2.INTER_LINEAR))


def test_padding_is_air() -> None:
    stored = Grid((32, 64), 64).fit_image(np.full((1, 32, 64), 40, np.int16))
    assert (stored[0, :16] == AIR_HU).all() and (stored[0, 48:] == AIR_HU).all()
    assert (stored[0, 16:48] == 40).all()


def some_bad(raw: Path) -> list[Case]:
    """Three cases, of which only the second can be used."""
    flat, label = blocky(0)
    return [
        write_case(raw, 0, np.zeros_like(flat), label),
        write_case(raw, 1, *blocky(1)),
        write_case(raw, 2, flat[:-1], label),
    ]


def test_all_bad_cases_are_told_and_the_good_ones_prepared(tmp_path: Path) -> None:
    cases = some_bad(tmp_path / "raw")
    with pytest.raises(ValueError) as refusal:
        prepare(cases, tmp_path / "store", 64)
    lines = str(refusal.value).splitlines()
    assert ["case_00000/imaging" in lines[0], "case_00002/segmentation" in lines[1]] == [True] * 2
    assert len(lines) == 2
    assert sorted(p.name for p in (tmp_path / "store").iterdir()) == ["case_00001"]


def test_bad_cases_are_left_out_if_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cases = some_bad(tmp_path / "raw")
    store = prepare(cases, tmp_path / "store", 64, skip_bad=True)
    assert store.ids == ["case_00001"] and np.array_equal(store.images(0), blocky(1)[0])
    left_out = [m for m in caplog.messages if m.startswith("left out: ")]
    assert len(left_out) == 2 and "every voxel has the same value" in left_out[0]
    with pytest.raises(ValueError, match="none of the 1 cases can be used"):
        prepare(cases[:1], tmp_path / "store", 64, skip_bad=True)


def test_a_full_disk_is_a_line_and_nothing_half_written(
    block_cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, written = prepare_module._save, []

    def full(path: Path, array: np.ndarray) -> None:
        written.append(path)
        if len(written) == 5:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        save(path, array)

    monkeypatch.setattr(prepare_module, "_save", full)
    with pytest.raises(
        ValueError, match="the disk is full; make room .* 2 of 6 cases are prepared"
    ) as told:
        prepare(block_cases, tmp_path, None)
    assert "\n" not in str(told.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["case_00000", "case_00001"]
    monkeypatch.undo()
    assert prepare(block_cases, tmp_path, None).ids == [c.id for c in block_cases]


def test_a_disk_that_is_really_full(small_disk: Path, tmp_path: Path) -> None:
    cases = [write_case(tmp_path / "raw", number, *blocky(number)) for number in range(6)]
    store = small_disk / "store"
    with pytest.raises(ValueError, match="small/store: the disk is full"):
        prepare(cases, store, None, workers=2)
    there = sorted(p.name for p in store.iterdir())
    assert 0 < len(there) < 6 and all(is_current(c, store) for c in cases if c.id in there)


def test_what_a_killed_process_left_goes(block_cases: list[Case], tmp_path: Path) -> None:
    """Between any two steps of writing a case: half a new folder, or the old one put aside."""
    prepare(block_cases, tmp_path, None)
    (tmp_path / ".case_00000-new").mkdir()
    (tmp_path / ".case_00000-new" / "image.npy").write_bytes(b"half")
    os.replace(tmp_path / "case_00000", tmp_path / ".case_00000-old")
    (tmp_path / "case_00001" / "image.npy").write_bytes(b"cut off by a loss of power")
    store = prepare(block_cases, tmp_path, None)
    assert np.array_equal(store.images(0), blocky(0)[0]) and np.array_equal(
        store.images(1), blocky(1)[0]
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == [c.id for c in block_cases]


def test_what_was_left_of_current_cases_goes_unless_it_is_held(
    block_cases: list[Case], tmp_path: Path
) -> None:
    """Killed after the last step that counts: such a case isn't prepared again."""
    prepare(block_cases, tmp_path, None)
    for name in (".case_00000-old", ".case_00001-new", ".case_00002-old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / CARD).touch()
    for name in (".case_00000.lock", ".case_00003.lock"):
        (tmp_path / name).touch()
    gone = subprocess.Popen(["true"])
    gone.wait()
    pictures = {
        kind: tmp_path / f".{pid}-dataset.{kind}"
        for kind, pid in (("png", gone.pid), ("md", os.getpid()), ("young", gone.pid))
    }
    for kind, path in pictures.items():
        path.touch()
        if kind != "young":
            os.utime(path, (0, 0))
    with locked(tmp_path / "case_00002", Event(), lambda note: None):
        prepare(block_cases, tmp_path, None)
        hidden = {path.name for path in tmp_path.glob(".*")}
    assert hidden == {
        ".case_00002-old",
        ".case_00002.lock",
        pictures["md"].name,
        pictures["young"].name,
    }
    assert sorted(p.name for p in tmp_path.glob("case_*")) == [c.id for c in block_cases]


PREPARE = """
import sys
from pathlib import Path
from kitsseg.data.kits19 import list_cases
from kitsseg.data.prepare import prepare
prepare(list_cases(Path(sys.argv[1])), Path(sys.argv[2]), 96, int(sys.argv[3]))
"""


def preparing(raw: Path, store: Path, workers: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", PREPARE, str(raw), str(store), str(workers)]
    # A group of its own, so that its workers can be killed with it.
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)


def contents(folder: Path) -> dict[str, bytes]:
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


@pytest.fixture(scope="module")
def bigger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cases that take a while."""
    root = tmp_path_factory.mktemp("bigger")
    for number in range(12):
        write_case(root, number, *blocky(number, 24, 256, 256))
    return root


def test_killed_at_any_moment_it_ends_as_if_undisturbed(bigger: Path, tmp_path: Path) -> None:
    cases = list_cases(bigger)
    prepare(cases, tmp_path / "calm", 96)
    rng = random.Random(0)
    killed = 0
    for number in range(4):
        process = preparing(bigger, tmp_path / "shot", 1 + number % 2)
        while process.poll() is None and not list(tmp_path.glob("shot/case_*")):
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.1))
        killed += process.poll() is None
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert killed
    prepare(cases, tmp_path / "shot", 96)
    assert contents(tmp_path / "shot") == contents(tmp_path / "calm")


def test_two_processes_at_once(bigger: Path, tmp_path: Path) -> None:
    prepare(list_cases(bigger), tmp_path / "one", 96)
    both = [preparing(bigger, tmp_path / "two", 1) for _ in range(2)]
    assert [process.wait(100) for process in both] == [0, 0]
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


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


def test_a_folder_that_lacks_a_file_is_a_bad_case(
    blocks: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "kits19"
    shutil.copytree(blocks, root)
    (root / "case_00001" / "imaging.nii.gz").unlink()
    (root / "case_00003" / "segmentation.nii.gz").unlink()
    (root / "case_00005" / "imaging.nii.gz").unlink()
    (root / "case_00005" / "imaging.nii.gz").mkdir()
    (root / "case_00210").mkdir()  # of the test cases nobody has the labels
    cases = Kits19(test="210-299").find(root)
    assert len(cases) == 6
    with pytest.raises(ValueError) as refusal:
        prepare(cases, tmp_path / "store", None)
    lines = str(refusal.value).splitlines()
    for line, text in zip(
        lines,
        (
            r"case_00001/imaging.nii.gz: is missing; python -m kitsseg.download root=DIR cases=1 f",
            r"case_00003/segmentation.nii.gz: is missing; python -m kitsseg.download root=DIR cases=3 f",
            r"case_00005/imaging.nii.gz: is a folder, not a file; move it away",
        ),
        strict=True,
    ):
        assert re.search(text, line)
    assert prepare(cases, tmp_path / "store", None, skip_bad=True).ids == [
        "case_00000", "case_00002", "case_00004"
    ]  # fmt: skip
    assert sum(message.startswith("left out: ") for message in caplog.messages) == 3
    assert Kits19().find(root)[-1].id == "case_00210"


def test_what_a_later_edition_lacks_is_not_kits19s_to_fetch(blocks: Path, tmp_path: Path) -> None:
    root = tmp_path / "kits23"
    shutil.copytree(blocks, root)
    (root / "case_00001" / "segmentation.nii.gz").unlink()
    source = Kits19(numbers=["0-299", "400-588"], origin="https://example.org/kits23")
    with pytest.raises(ValueError, match=r"segmentation.nii.gz: is missing; https://example.org/kits23"):
        prepare(source.find(root), tmp_path / "store", None)


def test_a_case_that_cannot_be_entered_is_a_bad_case(blocks: Path, tmp_path: Path) -> None:
    shutil.copytree(blocks, tmp_path / "raw")
    locked = tmp_path / "raw" / "case_00001"
    locked.chmod(0)
    code = (
        "from pathlib import Path; from kitsseg.data.kits19 import Kits19; "
        "from kitsseg.data.prepare import prepare; "
        "print(len(prepare(Kits19().find('raw'), Path('store'), None, skip_bad=True).ids))"
    )
    try:
        done = powerless.run(tmp_path, "-c", code)
    finally:
        locked.chmod(0o755)
    assert (done.returncode, done.stdout) == (0, "5\n")
    assert "raw/case_00001/imaging.nii.gz: can't be looked at (Permission denied)" in done.stderr
    assert "left out: raw/case_00001/imaging.nii.gz: can't be looked at" in done.stderr


def test_numbers_are_checked() -> None:
    for wrong in ("5-3", "x", "-1", "123456", ""):
        with pytest.raises(ValueError, match=f"{wrong} must be a case's number or a range"):
            Kits19(numbers=["0-9", wrong])
    with pytest.raises(ValueError, match=r"test=8-10 must lie in numbers=\['0-9'\]"):
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
