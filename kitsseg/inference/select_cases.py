"""Select the scans of requested KiTS19 cases."""

from collections.abc import Mapping, Sequence
from typing import Any

from kitsseg.data.io.scan import Scan
from kitsseg.data.sources.kits import parse_cases

TEST_CASES = "test"


def select_cases(
    scans: Sequence[Scan], problems: Mapping[str, str], cases: Any, submission: bool
) -> tuple[list[Scan], dict[str, str]]:
    """Return the scans of the requested cases, and a problem for each case without a readable scan.

    Args:
        scans: all scans of the input.
        problems: messages by name, of inputs that cannot be read.
        cases: as in `parse_cases`; None for all scans, or for the test cases of a submission.
        submission: allow test cases only.

    Raises:
        ValueError: ``cases`` is invalid.
    """
    if cases is None and not submission:
        return list(scans), dict(problems)
    numbers = parse_cases(TEST_CASES if cases is None else cases)
    if submission and (labelled := set(numbers) - set(parse_cases(TEST_CASES))):
        raise ValueError(f"cases: {min(labelled)} is not a test case; a submission holds 210-299")
    by_number = {scan.number: scan for scan in scans if scan.number is not None}
    names = {number: f"case_{number:05d}" for number in numbers}
    missing = {name: f"{name}: not in the input" for n, name in names.items() if n not in by_number}
    unreadable = {name: reason for name, reason in problems.items() if name in names.values()}
    return [by_number[number] for number in numbers if number in by_number], missing | unreadable
