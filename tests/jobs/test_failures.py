"""Known failures are described in one line with a remedy; others keep their traceback."""

import errno
import signal
from pathlib import Path

import pytest
import torch
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from kitsseg.data.store.prepare import BadCasesError
from kitsseg.jobs.failures import Failure, JobFailedError, describe, killed


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("val/loss is nan\nafter epoch 3"), "val/loss is nan after epoch 3"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "out of memory (CUDA out of memory)"),
        (MemoryError(), "out of memory (MemoryError): try a smaller"),
        (OSError(errno.ENOSPC, "No space", "/a/b"), "/a/b: the disk is full; make"),
        (RuntimeError("write: No space left on device"), "the output folder: the disk is full"),
        (FileNotFoundError(2, "No such file", "/d/c.npy"), "/d/c.npy: No such file; its folder was"),
        (OSError(errno.EROFS, "Read-only", "/d/c.npy"), "/d/c.npy: Read-only; set a folder that"),
        (
            FileNotFoundError("Caught FileNotFoundError in DataLoader\n[Errno 2] No such file: '/d/c'"),
            "No such file: '/d/c'; its folder was removed",
        ),
        (RuntimeError("DataLoader worker (pid 3) is killed by signal: Killed. "), "DataLoader worker"),
        (MisconfigurationException("You requested gpu"), "You requested gpu"),
    ],
)  # fmt: skip
def test_known_failure_is_described_in_one_line(error: Exception, line: str) -> None:
    found = describe(error)
    assert found.known and found.error.startswith(line) and "\n" not in found.error


def test_cause_of_an_exception_is_reported() -> None:
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "/a")
        except OSError as full:
            raise RuntimeError("checkpoint not saved") from full
    except RuntimeError as error:
        assert describe(error).error.startswith("/a: the disk is full")


def test_missing_file_in_an_existing_folder_is_not_a_known_failure(tmp_path: Path) -> None:
    lost = tmp_path / "best.ckpt"
    in_loader = FileNotFoundError(f"Caught FileNotFoundError\n[Errno 2] No such file: '{lost}'")
    for error in (FileNotFoundError(2, "No such file", str(lost)), in_loader):
        assert not describe(error).known


def test_unknown_error_keeps_its_traceback() -> None:
    try:
        raise KeyError("rows")
    except KeyError as error:
        found = describe(error)
    assert not found.known and found.error == "KeyError: 'rows'"
    assert "test_failures.py" in found.traceback


def test_killed_process_is_described() -> None:
    assert killed(signal.SIGKILL, "rank 1").error.startswith(
        "rank 1 was killed by SIGKILL, most likely because memory ran out: try a smaller data.batch_size"
    )
    assert "missing, or the disk is full" in killed(signal.SIGBUS, "its process").error
    failure = Failure("x", True, "")
    assert describe(JobFailedError(failure)) is failure


def test_bad_cases_are_reported_one_per_line() -> None:
    failure = describe(
        BadCasesError("case_00001: is cut off\ncase_00002: is empty\ncase_00003: is empty")
    )
    assert failure.error == "case_00001: is cut off (and 2 more)" and failure.known
    assert failure.message == ["case_00001: is cut off", "case_00002: is empty", "case_00003: is empty"]
    assert describe(BadCasesError("case_00001: is empty")).error == "case_00001: is empty"
    assert describe(ValueError("one\ntwo")).message == ["one two"]
