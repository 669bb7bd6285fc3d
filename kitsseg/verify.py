"""Read every file of a data set and report its cases and problems."""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig

from kitsseg.config.command_line import print_error, run_command
from kitsseg.config.components import Section, instantiate
from kitsseg.config.validation import Command, outside, plain
from kitsseg.data.case import Case
from kitsseg.data.labels import Labels
from kitsseg.data.sources.source import Source
from kitsseg.system.files import check_writable, write_json


@dataclass
class VerifyConfig:
    """Schema of ``conf/verify.yaml``."""

    root: str = MISSING
    cases: Any = None
    workers: int = MISSING
    report: str | None = None
    source: dict[str, Any] = MISSING
    labels: dict[str, Any] = MISSING


def check(values: dict[str, Any], built: dict[str, Any]) -> list[str]:
    """Return the problems of ``cases`` and ``workers``."""
    problems = outside(values, workers=(1, 64))
    if values["cases"] is not None and "source" in built:
        try:
            built["source"].choose(values["cases"])
        except ValueError as error:
            problems.append(str(error))
    return problems


COMMAND = Command("verify", VerifyConfig, {"source": Section(), "labels": Section()}, check)


def run(cfg: DictConfig) -> int:
    """Inspect the cases, print a table and the problems, write the report; return the exit code."""
    from kitsseg.data.parallel import over_cases
    from kitsseg.data.sources.inspection import BAD, format_table, inspect, read_published_spacing

    root, source = Path(cfg.root).expanduser(), instantiate(cfg.source)
    labels = instantiate(cfg.labels)
    cases = chosen_cases(root, source, plain(cfg.cases), labels)
    report = None if cfg.report is None else Path(cfg.report).expanduser()
    if report is not None:
        try:
            check_writable(report)
        except OSError as error:
            raise ValueError(f"report={report}: {error.strerror or error}; set another file") from error
    published, problem = read_published_spacing(cases[0].image.parent.parent)
    job = partial(inspect, published_mm=published, labels=labels)
    findings = list(over_cases(job, cases, cfg.workers, "reading cases"))
    print(format_table(findings, labels))
    other = [] if problem is None else [problem]
    problems = [p for finding in findings for p in finding.problems] + other
    for line in problems:
        print_error("verify", line)
    if report is not None:
        stored = [asdict(finding) for finding in findings]
        write_json(report, {"version": 1, "root": str(root), "problems": other, "cases": stored})
    bad = sum(finding.state == BAD for finding in findings)
    print(f"{len(findings)} cases, {bad} bad" + (f"; {cfg.report}" if cfg.report is not None else ""))
    return int(bool(problems))


def chosen_cases(root: Path, source: Source, chosen: object, labels: Labels) -> list[Case]:
    """Return the cases that ``chosen`` selects, by default all. Files of KiTS may be missing."""
    found = source.cases(root, labels)
    if not found:
        raise ValueError(
            f"root={root}: contains no cases; set source= to its layout (kits19: folders case_XXXXX)"
        )
    return found if chosen is None else source.select(found, source.choose(chosen), labels)


if __name__ == "__main__":
    run_command(COMMAND, run, "no report was written")
