"""The command `kitsseg.download`, against a server on this machine."""

import errno
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from kitsseg import fetch as fetch_module
from kitsseg.cli import attempt, find_problems
from kitsseg.config import CONFIG_DIR
from kitsseg.data.kits19 import parse_cases
from kitsseg.download import AGAIN, list_wanted, run
from kitsseg.fetch_all import Bar
from tests import powerless
from tests.faulty import FaultyServer, serve
from tests.test_fetch import volume

CASES = (0, 1, 2, 210)


def imaging(case: int) -> str:
    return f"/images/case_{case:05d}.nii.gz"


def labels(case: int) -> str:
    return f"/data/case_{case:05d}/segmentation.nii.gz"


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    """Three labelled cases, a test case and the clinical data."""
    with serve() as faulty:
        for case in CASES:
            faulty.files[imaging(case)] = volume(case, 200_000)
            faulty.files[labels(case)] = volume(case + 1000, 5_000)
        faulty.files["/data/kits.json"] = b'[{"case_id": "case_00000"}]'
        yield faulty


def overrides(server: FaultyServer, root: Path) -> list[str]:
    return [
        f"root={root}", "workers=2", "timeout_s=10", "retries=2", "backoff_s=0.01",
        f'imaging_url="{server.address}/images/case_{{case:05d}}.nii.gz"',
        f'labels_url="{server.address}/data/case_{{case:05d}}/segmentation.nii.gz"',
        f"clinical_url={server.address}/data/kits.json",
    ]  # fmt: skip


def download(server: FaultyServer, root: Path, *more: str) -> int:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("download", [*overrides(server, root), "cases=[0-2,210]", *more])
        return attempt("download", run, cfg, AGAIN)


def start(server: FaultyServer, root: Path, *more: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    line = [*overrides(server, root), "cases=[0-2,210]", *more]
    return subprocess.Popen(
        [sys.executable, "-m", "kitsseg.download", *line],
        cwd=root.parent, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # Processes in the background of a shell are born deaf to interrupts, and their children, too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


def errors(stderr: str) -> list[str]:
    """What the command said, without the bar."""
    return [line for line in re.split(r"[\r\n]+", stderr) if line and " files" not in line.split(":")[0]]


def expected(server: FaultyServer) -> dict[str, bytes]:
    found = {"kits.json": server.files["/data/kits.json"]}
    for case in CASES:
        found[f"case_{case:05d}/imaging.nii.gz"] = server.files[imaging(case)]
        if case < 210:
            found[f"case_{case:05d}/segmentation.nii.gz"] = server.files[labels(case)]
    return found


def found(root: Path) -> dict[str, bytes]:
    """All files below a folder, hidden ones, too."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def wait_for_part(root: Path, size: int) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if any(p.stat().st_size >= size for p in root.rglob(".imaging.nii.gz.part")):
            return
        time.sleep(0.02)
    raise AssertionError("nothing came")


# ---- what comes


def test_all_files_come_in_kits19s_layout_and_only_once(
    server: FaultyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "kits19"
    assert download(server, root) == 0
    assert found(root) == expected(server)
    out, err = capsys.readouterr()
    assert out == f"4 of 4 cases are complete in {root}: 8 files came now (0.8 MB), 0 were there\n"
    assert errors(err) == [] and "8/8 files: 100%" in err
    asked = len(server.asked)
    assert download(server, root) == 0
    assert len(server.asked) == asked
    assert "0 files came now (0.0 MB), 8 were there" in capsys.readouterr().out


def test_breaks_of_all_kinds_in_many_files(server: FaultyServer, tmp_path: Path) -> None:
    server.faults = {
        imaging(0): [{"cut": 50_000}, {"cut": 50_000}, {"slam": True}],
        imaging(1): [{"status": 503}, {"cut": 1000}, {"cut": 7, "ignore_range": True}],
        imaging(2): [{"stall": 100}],
        labels(0): [{"status": 429, "headers": {"Retry-After": "0"}}],
        labels(1): [{"claim": 100}],
    }
    assert download(server, tmp_path, "timeout_s=0.5") == 0
    assert found(tmp_path) == expected(server)


def test_failures_are_a_line_a_case_and_the_others_come(
    server: FaultyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del server.files[imaging(0)], server.files[labels(0)]
    server.faults[imaging(1)] = [{"status": 403}]
    server.files[imaging(2)] = b"<html>busy</html>"
    assert download(server, tmp_path) == 1
    out, err = capsys.readouterr()
    assert out.startswith("1 of 4 cases are complete")
    lines = errors(err)
    assert [line.split(": ")[1] for line in lines] == ["case_00000", "case_00001", "case_00002"]
    assert f"{server.address}{imaging(0)}: the host answers 404 Not Found" in lines[0]
    assert f"{server.address}{labels(0)}: the host answers 404 Not Found" in lines[0]
    assert "see imaging_url and imaging_revision" in lines[0] and "labels_from" in lines[0]
    assert "403 Forbidden" in lines[1] and "an HTML page comes instead" in lines[2]


def test_clinical_data_may_be_missing(server: FaultyServer, tmp_path: Path) -> None:
    names = set(expected(server)) - {"kits.json"}
    del server.files["/data/kits.json"]
    assert download(server, tmp_path) == 0
    assert set(found(tmp_path)) == names


def test_a_silent_host_is_not_asked_for_every_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve() as gone:
        pass
    assert download(gone, tmp_path, "cases=0-99", "retries=1") == 1
    lines = errors(capsys.readouterr().err)
    assert len(lines) <= 3 and "Connection refused" in lines[0]
    assert re.search(r"127.0.0.1:\d+ doesn't answer, so (199|200) more files were not tried", lines[-1])


@pytest.mark.parametrize("below", ["", "data"])
def test_labels_from_a_checkout(server: FaultyServer, tmp_path: Path, below: str) -> None:
    checkout = tmp_path / "checkout"
    for case in (0, 1, 2):
        path = checkout / below / f"case_{case:05d}" / "segmentation.nii.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes(server.files[labels(case)])
    (checkout / below / "kits.json").write_bytes(server.files["/data/kits.json"])
    root = tmp_path / "kits19"
    assert download(server, root, f"labels_from={checkout}") == 0
    assert found(root) == expected(server)
    assert not [asked for asked in server.asked if asked.path.startswith("/data")]


def test_a_checkout_without_a_label_or_with_a_bad_one(
    server: FaultyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "case_00000").mkdir(parents=True)
    (checkout / "case_00001").mkdir()
    (checkout / "case_00001" / "segmentation.nii.gz").write_bytes(volume(5)[:999])
    root = tmp_path / "kits19"
    assert download(server, root, f"labels_from={checkout}", "cases=[0,1]") == 1
    lines = errors(capsys.readouterr().err)
    assert re.search("case_00000: .*segmentation.nii.gz: there's no such file: labels_from", lines[0])
    assert re.search("case_00001: .*segmentation.nii.gz.*is cut off after 999 bytes", lines[1])
    assert sorted(found(root)) == ["case_00000/imaging.nii.gz", "case_00001/imaging.nii.gz"]


def test_what_is_there_is_read_again_if_asked(server: FaultyServer, tmp_path: Path) -> None:
    assert download(server, tmp_path) == 0
    broken = tmp_path / "case_00001" / "imaging.nii.gz"
    broken.write_bytes(broken.read_bytes()[:-100])
    server.asked.clear()
    assert download(server, tmp_path) == 0 and server.asked == []
    assert download(server, tmp_path, "check=true") == 0
    assert [asked.path for asked in server.asked] == [imaging(1)]
    assert found(tmp_path) == expected(server)


def test_the_total_is_estimated_from_files_of_the_same_kind(
    server: FaultyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = list_wanted(tmp_path, [0, 1, 2], "http://a/{case}", "http://b/{case}", "http://c", None)
    assert [each.target.name[:4] for each in wanted] == ["kits", *["segm", "imag"] * 3]
    bar, targets = Bar(wanted), [each.target for each in wanted]
    bar.finish(targets[0])  # not there
    bar.watcher(targets[1])(10, 10)
    assert bar.bar.total is None  # no volume has begun
    image = bar.watcher(targets[2])
    image(300, 1000)  # 300 of them from an earlier run
    image(500, 1000)
    assert (bar.bar.total, bar.bar.n, bar.bar.initial) == (3 * 10 + 3 * 1000, 510, 310)
    bar.watcher(targets[4])(0, 2000)
    assert bar.bar.total == 3 * 10 + 1000 + 2000 + 1500
    image(0, 1000)  # from the beginning again
    assert bar.bar.n == 10
    bar.note(targets[2], "slow")
    bar.close()
    assert "case_00000: slow (retry 1)" in capsys.readouterr().err


# ---- what stops it


def test_a_full_disk_is_one_line(
    server: FaultyServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def write(file: object, chunk: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetch_module, "_write", write)
    assert download(server, tmp_path) == 1
    (line,) = errors(capsys.readouterr().err)
    assert line == (
        f"kitsseg.download: {tmp_path}: No space left on device; make room: what came is kept, "
        "and the same command goes on from there"
    )
    monkeypatch.undo()
    assert download(server, tmp_path) == 0 and found(tmp_path) == expected(server)


def test_a_disk_that_is_really_full(
    server: FaultyServer, small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert download(server, small_disk / "raw") == 1  # a volume has 200 kB
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("kitsseg")]
    assert len(errors) == 1 and "No space left on device; make room: what came is kept" in errors[0]
    shutil.copytree(small_disk / "raw", tmp_path / "raw")
    assert download(server, tmp_path / "raw") == 0  # it goes on with what was kept
    for case in CASES:
        whole = (tmp_path / "raw" / f"case_{case:05d}" / "imaging.nii.gz").read_bytes()
        assert whole == server.files[imaging(case)]


def test_a_root_that_cannot_be_written_is_one_line(
    server: FaultyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert download(server, tmp_path / "file") == 1
    (line,) = errors(capsys.readouterr().err)
    assert re.match(r"kitsseg.download: .*/file.*: (Not a directory|File exists)", line)


def test_what_stands_in_a_files_place_stops_that_file_alone(
    server: FaultyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "kits19"
    (root / "case_00000" / "imaging.nii.gz").mkdir(parents=True)
    (root / "case_00001").mkdir()
    (root / "case_00001" / "imaging.nii.gz").symlink_to("away.nii.gz")
    (root / "case_00001" / "segmentation.nii.gz").symlink_to("segmentation.nii.gz")
    (root / "case_00002").write_text("")
    (root / "case_00210" / ".imaging.nii.gz.part").mkdir(parents=True)
    assert download(server, root) == 1
    out, err = capsys.readouterr()
    assert out.startswith("0 of 4 cases are complete")
    lines = errors(err)
    assert [line.split(": ")[1] for line in lines] == [f"case_{n:05d}" for n in CASES]
    assert "imaging.nii.gz is a folder, not a file; move it away" in lines[0]
    assert "imaging.nii.gz is a link to away.nii.gz, which isn't there; mend or" in lines[1]
    assert "segmentation.nii.gz is a link to segmentation.nii.gz, which leads back" in lines[1]
    assert lines[2].count("its folder is a file; move that away") == 2
    assert f"{root}/case_00210/.imaging.nii.gz.part: Is a directory" in lines[3]
    came = [name for name in found(root) if name.endswith((".nii.gz", ".json"))]
    assert sorted(came) == ["case_00000/segmentation.nii.gz", "kits.json"]
    (root / "case_00000" / "imaging.nii.gz").rmdir()
    (root / "case_00002").unlink()
    (root / "case_00210" / ".imaging.nii.gz.part").rmdir()
    for link in (root / "case_00001").iterdir():
        link.unlink()
    assert download(server, root) == 0 and found(root) == expected(server)


def test_a_case_that_cannot_be_entered_stops_that_case_alone(
    server: FaultyServer, tmp_path: Path
) -> None:
    root = tmp_path / "kits19"
    (root / "case_00001").mkdir(parents=True)
    (root / "case_00001").chmod(0)
    line = [*overrides(server, root), "cases=[0-2,210]"]
    try:
        done = powerless.run(tmp_path, "-m", "kitsseg.download", *line)
    finally:
        (root / "case_00001").chmod(0o755)
    assert done.returncode == 1 and done.stdout.startswith("3 of 4 cases are complete")
    (said,) = errors(done.stderr)
    assert said.startswith("kitsseg.download: case_00001: imaging.nii.gz can't be looked at (Perm")


def test_killed_and_started_again(server: FaultyServer, tmp_path: Path) -> None:
    """SIGKILL at several moments; in the end all is as if nothing had happened."""
    root = tmp_path / "kits19"
    server.rate = 400_000
    for size in (1, 60_000, 150_000):
        process = start(server, root)
        wait_for_part(root, size)
        process.kill()
        process.communicate()
        names = {name.rpartition("/")[2] for name in found(root) if "/." not in name}
        assert names <= {"imaging.nii.gz", "segmentation.nii.gz", "kits.json"}
    server.rate = None
    assert download(server, root) == 0
    assert found(root) == expected(server)
    assert any(asked.range for asked in server.asked)


def kill_at_random(process: subprocess.Popen[str], root: Path, within_s: float) -> bool:
    """SIGKILL so long after it has begun to write at most; whether it was still at work."""

    def files() -> dict[str, int]:
        times = {}
        for path in root.rglob("*"):
            with suppress(FileNotFoundError):  # it has just got its name
                times[str(path)] = path.stat().st_mtime_ns
        return times

    before, end = files(), time.monotonic() + 20
    while process.poll() is None and files() == before:  # importing takes longer than all the rest
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.002)
    time.sleep(within_s)
    at_work = process.poll() is None
    process.kill()
    process.communicate()
    return at_work


def named(root: Path) -> dict[str, bytes]:
    """The files below a folder that aren't hidden."""
    return {name: data for name, data in found(root).items() if "/." not in f"/{name}"}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_at_any_moment(server: FaultyServer, tmp_path: Path, seed: int) -> None:
    """However often and wherever SIGKILL strikes, the same command brings the same bytes."""
    root, moments = tmp_path / "kits19", random.Random(seed)
    for case in CASES:  # each of these files has one transfer of every kind ahead
        server.faults[imaging(case)] = [{}, {"chunked": True}, {"ignore_range": True}, {"cut": 3000}]
    server.rate = 200_000
    kills = 0
    for _ in range(5):
        kills += kill_at_random(start(server, root), root, moments.uniform(0, 0.7))
        assert named(root).items() <= expected(server).items()  # what has its name is whole
    assert kills >= 2
    server.rate = None
    server.faults.clear()
    assert download(server, root) == 0
    assert found(root) == expected(server)


def test_killed_while_it_copies_labels(server: FaultyServer, tmp_path: Path) -> None:
    checkout, root, moments = tmp_path / "checkout", tmp_path / "kits19", random.Random(4)
    for case in (0, 1, 2):
        server.files[labels(case)] = volume(case + 1000, 30_000_000)  # copying and checking take a while
        path = checkout / f"case_{case:05d}" / "segmentation.nii.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes(server.files[labels(case)])
    (checkout / "kits.json").write_bytes(server.files["/data/kits.json"])
    unfinished = 0
    for _ in range(5):
        process = start(server, root, f"labels_from={checkout}", "workers=1")
        kill_at_random(process, root, moments.uniform(0, 0.1))
        unfinished += any(root.rglob(".segmentation.nii.gz.part"))
        assert named(root).items() <= expected(server).items()
    assert unfinished
    assert download(server, root, f"labels_from={checkout}") == 0
    assert found(root) == expected(server)


def test_interrupted(server: FaultyServer, tmp_path: Path) -> None:
    root = tmp_path / "kits19"
    server.rate = 60_000
    process = start(server, root)
    wait_for_part(root, 20_000)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors(err) == [
        "kitsseg.download: interrupted; what came is kept, and the same command goes on from there"
    ]
    server.rate = None
    assert download(server, root) == 0 and found(root) == expected(server)


def test_two_at_once_share_the_work(server: FaultyServer, tmp_path: Path) -> None:
    root = tmp_path / "kits19"
    server.rate = 400_000
    both = [start(server, root, "workers=3") for _ in range(2)]
    for process in both:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0 and errors(err) == []
    assert found(root) == expected(server)
    assert len(server.asked) == 8  # every file came once


# ---- what may be asked for


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
def test_cases(cases: object, numbers: list[int]) -> None:
    assert parse_cases(cases) == numbers


NAMES = "labelled, test, all, a number, a range (0-41) or a list of these"


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("cases=300", "cases: 300 must lie in 0-299, the smaller number first"),
        ("cases=41-0", "cases: 41-0 must lie in 0-299, the smaller number first"),
        ("cases=some", f"cases: some must be {NAMES}"),
        ("cases=[0,-1]", f"cases: -1 must be {NAMES}"),
        ("cases=[]", "cases: an empty list asks for nothing"),
        ("cases=null", f"cases: None must be {NAMES}"),
        ("cases=0,1", "cases=0,1 is a sweep: add -m (or write cases=[0,1] for a list)"),
        ("workers=0", "workers: 0 must lie in [1, 64]"),
        ("workers=two", "workers: expected int, got 'two'"),
        ("retries=-1", "retries: -1 must lie in [0, 100]"),
        ("timeout_s=nan", "timeout_s: nan must lie in [0.1, 3600]"),
        (
            'imaging_url="ftp://a/{case}"',
            "imaging_url: ftp://a/{case} must begin with http:// or https://",
        ),
        ("clinical_url=kits.json", "clinical_url: kits.json must begin with http:// or https://"),
        (
            "labels_url=http://a/b",
            "labels_url: http://a/b must hold {case:05d}, or all cases would be the same file",
        ),
        (
            'labels_url="http://a/{id}"',
            "labels_url: http://a/{id}: {case:05d} alone may stand in braces (KeyError('id'))",
        ),
        ("label_from=x", "label_from: no such key; did you mean labels_from?"),
    ],
)
def test_one_mistake_is_one_line(override: str, problem: str) -> None:
    assert find_problems("download", ["root=x", override]) == [problem]


def test_the_root_has_to_be_given() -> None:
    assert find_problems("download", []) == ["root: has no value; give it one with root=VALUE"]
    assert find_problems("download", ["root=x"]) == []


def test_revisions_are_part_of_the_addresses() -> None:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("download", ["root=x", "imaging_revision=abc", "labels_revision=def"])
    assert cfg.imaging_url.format(case=7) == (
        "https://huggingface.co/datasets/neheller/KiTS-Challenge-Imaging/resolve/abc/images/case_00007.nii.gz"
    )
    assert cfg.labels_url.format(case=7) == (
        "https://raw.githubusercontent.com/neheller/kits19/def/data/case_00007/segmentation.nii.gz"
    )
    assert "/def/" in cfg.clinical_url


def test_a_checkout_that_is_none_is_one_line(server: FaultyServer, tmp_path: Path) -> None:
    process = start(server, tmp_path / "x", f"labels_from={tmp_path}")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors(err) == [
        f"kitsseg.download: labels_from={tmp_path} holds no case_XXXXX folders, nor does its data/"
    ]
