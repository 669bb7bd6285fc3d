"""Select the scans of requested KiTS19 cases."""

from collections.abc import Mapping, Sequence
from typing import Any

from kitsseg.data.case import case_number
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
    missing: dict[str, str] = {}
    chosen = []
    for number in numbers:
        name = f"case_{number:05d}"
        same = [scan for scan in scans if scan.number == number]
        if len(same) == 1:
            chosen += same
        elif name not in problems:
            files = " and ".join(str(scan.path) for scan in same)
            reason = f"{files} are the same case; remove all but one" if same else "not in the input"
            missing[name] = f"{name}: {reason}"
    return chosen, missing | {key: why for key, why in problems.items() if case_number(key) in numbers}
