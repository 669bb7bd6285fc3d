"""Read every file of a data set once, and list the cases and all that is wrong with them.

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
    """Inspect the cases, print the table and the problems, write the report; the exit code.

    Raises:
        ValueError: there are no cases, or the report can't be written.
    """
    from kitsseg.data.parallel import over_cases
    from kitsseg.data.sources.inspection import BAD, read_published_spacing

    root, source = Path(cfg.root).expanduser(), instantiate(cfg.source)
    cases = list_cases(root, source, plain(cfg.cases))
    report = None if cfg.report is None else Path(cfg.report).expanduser()
    if report is not None:
        with naming(report):
            check_writable(report)  # before hours of reading
    published, problem = read_published_spacing(cases[0].image.parent.parent)
    job = partial(inspect_one, source=source, published=published)
    findings = list(over_cases(job, cases, cfg.workers, "reading cases"))
    print(table(findings))
    lines = [p for finding in findings for p in finding.problems]
    lines += [problem] if problem is not None else []
    for line in lines:
        print_error("verify", line)
    if report is not None:
        write_report(report, root, findings, problem)
    bad = sum(finding.state == BAD for finding in findings)
    print(f"{len(findings)} cases, {bad} bad" + (f"; {cfg.report}" if cfg.report is not None else ""))
    return int(bool(lines))


def list_cases(root: Path, source: "Kits19", asked: object) -> "list[Case]":
    """The cases below ``root`` that were asked for; with ``asked``, those that have no folder as well.

    Raises:
        ValueError: there are none.
    """
    there = {case.id: case for case in source.cases(root)}
    if not there:
        raise ValueError(f"root={root} holds no case_XXXXX folder, nor does its data/ or dataset/")
    if asked is None:
        return list(there.values())
    folder = next(iter(there.values())).image.parent.parent
    named = [f"case_{number:05d}" for number in source.numbers.choose(asked)]
    return [there.get(name, source.case(folder / name)) for name in named]


def inspect_one(case: "Case", source: "Kits19", published: dict[str, list[float]]) -> "Finding":
    """`kitsseg.data.sources.inspection.inspect` of a case of this source."""
    from kitsseg.data.sources.inspection import inspect

    return inspect(case, source.is_test(case), published.get(case.id))


def table(findings: "list[Finding]") -> str:
    """A row a case, aligned."""
    rows = [COLUMNS, *map(_row, findings)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(finding: "Finding") -> tuple[str, ...]:
    unknown = "–"
    shape = unknown if finding.shape is None else " x ".join(map(str, finding.shape))
    spacing = (
        unknown if finding.spacing_mm is None else " ".join(f"{mm:.4g}" for mm in finding.spacing_mm)
    )
    hu = unknown if finding.range_hu is None else "{} to {}".format(*finding.range_hu)
    ml = [unknown] * 2 if finding.ml is None else [f"{each:.1f}" for each in finding.ml.values()]
    stored = unknown if finding.axes is None else f"{finding.axes} {finding.dtype}"
    notes = "; ".join(finding.notes)
    return (
        finding.id,
        finding.state,
        shape,
        spacing,
        hu,
        *ml,
        f"{stored} ({notes})" if notes else stored,
    )


def write_report(path: Path, root: Path, findings: "list[Finding]", problem: str | None) -> None:
    """All that was found, as JSON.

    Raises:
        ValueError: it can't be written.
    """
    values = {
        "version": 1,
        "root": str(root),
        "problems": [] if problem is None else [problem],
        "cases": [asdict(finding) for finding in findings],
    }
    with naming(path):
        write_json(path, values)


@contextmanager
def naming(report: Path) -> Iterator[None]:
    """What the disk says of the report, as a `ValueError`."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"report={report}: {error.strerror or error}; name another file") from error


def main() -> None:
    """The command."""
    run_command(COMMAND, run, "nothing was written")


if __name__ == "__main__":
    main()
