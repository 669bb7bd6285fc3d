"""Read every file of a data set and report its cases and problems.

``python -m kitsseg.verify --help``
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import MISSING, DictConfig

from kitsseg.config.command_line import print_error, run_command
from kitsseg.config.components import Section, instantiate
from kitsseg.config.validation import Command, outside, plain
from kitsseg.system.files import check_writable, write_json

if TYPE_CHECKING:
    from kitsseg.data.case import Case
    from kitsseg.data.sources.inspection import Finding
    from kitsseg.data.sources.kits import Kits19


@dataclass
class VerifyConfig:
    """The root of ``conf/verify.yaml``."""

    root: str = MISSING
    cases: Any = None
    workers: int = MISSING
    report: str | None = None
    source: dict[str, Any] = MISSING


def check(values: dict[str, Any], built: dict[str, Any]) -> list[str]:
    """Return the problems of ``cases`` and ``workers``."""
    problems = outside(values, workers=(1, 64))
    if values["cases"] is not None and "source" in built:
        try:
            built["source"].numbers.choose(values["cases"])
        except ValueError as error:
            problems.append(str(error))
    return problems


COMMAND = Command("verify", VerifyConfig, {"source": Section()}, check)
COLUMNS = ("case", "state", "slices x H x W", "spacing mm", "HU", "kidney ml", "tumour ml", "stored as")


def run(cfg: DictConfig) -> int:
    """Inspect the cases, print a table and the problems, write the report; return the exit code."""
    from kitsseg.data.parallel import over_cases
    from kitsseg.data.sources.inspection import BAD, read_published_spacing

    root, source = Path(cfg.root).expanduser(), instantiate(cfg.source)
    cases = requested_cases(root, source, plain(cfg.cases))
    report = None if cfg.report is None else Path(cfg.report).expanduser()
    if report is not None:
        with report_errors(report):
            check_writable(report)
    published, problem = read_published_spacing(cases[0].image.parent.parent)
    job = partial(inspect_case, source=source, published=published)
    findings = list(over_cases(job, cases, cfg.workers, "reading cases"))
    print(format_table(findings))
    other = [] if problem is None else [problem]
    problems = [p for finding in findings for p in finding.problems] + other
    for line in problems:
        print_error("verify", line)
    if report is not None:
        stored = [asdict(finding) for finding in findings]
        with report_errors(report):
            write_json(report, {"version": 1, "root": str(root), "problems": other, "cases": stored})
    bad = sum(finding.state == BAD for finding in findings)
    print(f"{len(findings)} cases, {bad} bad" + (f"; {cfg.report}" if cfg.report is not None else ""))
    return int(bool(problems))


def requested_cases(root: Path, source: "Kits19", numbers: object) -> "list[Case]":
    """Return the cases below ``root``, or those with the given numbers, which may be missing."""
    found = {case.id: case for case in source.cases(root)}
    if not found:
        raise ValueError(f"root={root}: contains no folder case_XXXXX, nor do its data/ and dataset/")
    if numbers is None:
        return list(found.values())
    folder = next(iter(found.values())).image.parent.parent
    ids = [f"case_{number:05d}" for number in source.numbers.choose(numbers)]
    return [found.get(case_id, source.case(folder / case_id)) for case_id in ids]


def inspect_case(case: "Case", source: "Kits19", published: dict[str, list[float]]) -> "Finding":
    """Return the finding of a case; see `kitsseg.data.sources.inspection.inspect`."""
    from kitsseg.data.sources.inspection import inspect

    return inspect(case, source.is_test(case), published.get(case.id))


def format_table(findings: "list[Finding]") -> str:
    """Return an aligned table with one row per case."""
    rows = [COLUMNS, *map(_row, findings)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(finding: "Finding") -> tuple[str, ...]:
    unknown, spacing_mm = "–", finding.spacing_mm
    shape = unknown if finding.shape is None else " x ".join(map(str, finding.shape))
    spacing = unknown if spacing_mm is None else " ".join(f"{mm:.4g}" for mm in spacing_mm)
    hu = unknown if finding.range_hu is None else "{} to {}".format(*finding.range_hu)
    ml = [unknown] * 2 if finding.ml is None else [f"{value:.1f}" for value in finding.ml.values()]
    stored = unknown if finding.axes is None else f"{finding.axes} {finding.dtype}"
    stored += f" ({'; '.join(finding.notes)})" if finding.notes else ""
    return finding.id, finding.state, shape, spacing, hu, *ml, stored


@contextmanager
def report_errors(report: Path) -> Iterator[None]:
    """Raise an `OSError` of the report as `ValueError`."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"report={report}: {error.strerror or error}; set another file") from error


if __name__ == "__main__":
    run_command(COMMAND, run, "no report was written")
