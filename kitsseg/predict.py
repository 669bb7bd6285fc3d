"""Apply one or several trained networks to CT volumes.

``python -m kitsseg.predict --help``
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from glob import glob
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import MISSING, DictConfig
from tqdm import tqdm

from kitsseg.config.command_line import print_error, run_command
from kitsseg.config.components import Section, instantiate
from kitsseg.config.validation import Command, is_on, outside, plain
from kitsseg.data.case import case_number, nifti_ending
from kitsseg.data.sources.kits import ALL_EDITIONS, RANGE, parse_cases
from kitsseg.data.sources.table import Table
from kitsseg.data.split_part import parse_part, read_part
from kitsseg.data.suggestions import suggestion

if TYPE_CHECKING:
    from kitsseg.data.io.scan import Found, Scan
    from kitsseg.inference.record import OutputFiles, PredictionRecord

PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")


@dataclass
class PredictConfig:
    """Schema of ``conf/predict.yaml``."""

    checkpoint: Any = MISSING
    input: str = MISSING
    output: str = MISSING
    cases: Any = None
    mirror_axes: list[int] = MISSING
    overlap: float | None = None
    submission: bool = MISSING
    crop: bool | None = None
    skip_existing: bool = MISSING
    probabilities: bool = MISSING
    uncertainty: bool = MISSING
    quicklook: bool = MISSING
    dicom_seg: bool = MISSING
    upright: bool = MISSING
    offset_hu: int = MISSING
    device: str = MISSING
    precision: str = MISSING
    trusted: list[str] = MISSING
    postprocess: dict[str, Any] | None = None


def check(values: dict[str, Any], built: dict[str, Any]) -> list[str]:
    """Return the problems of values outside components."""
    problems = outside(values, offset_hu=(-32768, 32767))
    axes = values["mirror_axes"]
    if not set(axes) <= {0, 1, 2} or len(set(axes)) < len(axes):
        problems.append(
            f"mirror_axes={axes}: may contain 0 (rows), 1 (columns) and, for 3D networks, 2 (slices), "
            "each once"
        )
    if (overlap := values["overlap"]) is not None and not 0 <= overlap < 1:
        problems.append(f"overlap={overlap}: must be at least 0 and below 1")
    paths = values["checkpoint"]
    listed = isinstance(paths, list) and paths and all(isinstance(path, str) for path in paths)
    if not (listed or isinstance(paths, str)):
        problems.append(f"checkpoint={paths}: must be a file or a list of files")
    if (precision := values["precision"]) not in PRECISIONS:
        problems.append(f"precision={precision}: must be one of {', '.join(PRECISIONS)}")
    cases = values["cases"]
    items = cases if isinstance(cases, list) else [cases]
    if cases is not None and not (items and all(isinstance(item, str | int) for item in items)):
        problems.append(f"cases={cases}: must be a case id, a number, a range (0-41) or a list of these")
    return problems


COMMAND = Command("predict", PredictConfig, {"postprocess": Section(optional=True)}, check)
# Settings that determine the output files, besides the checkpoints and post-processing.
SETTINGS = (
    "mirror_axes", "crop", "precision", "offset_hu", "probabilities", "uncertainty", "quicklook",
    "dicom_seg", "upright",
)  # fmt: skip
MAX_SHOWN = 5  # ignored files that the summary names
RESUME = "skip_existing=true resumes"


def run(cfg: DictConfig) -> int:
    """Segment the input, write the results, and return the exit code.

    Raises `ValueError` if input, checkpoint or output folder cannot be used.
    """
    from kitsseg.data.io.find_images import find_images
    from kitsseg.inference.record import ZIP, OutputFiles, PredictionRecord
    from kitsseg.inference.segmenter import Segmenter
    from kitsseg.system.files import fingerprint

    checkpoints = find_checkpoints(cfg.checkpoint)
    source = Path(cfg.input).expanduser()
    found = find_in_table(source) if source.suffix.lower() == ".csv" else find_images(source)
    requested = requested_cases(plain(cfg.cases), cfg.submission, found)
    scans, problems = select_cases(found.scans, found.problems, requested)
    postprocess = instantiate(cfg.postprocess) if is_on(cfg.postprocess) else None
    segmenter = Segmenter.load(
        checkpoints, cfg.mirror_axes, postprocess, cfg.device, cfg.precision, cfg.trusted, cfg.crop,
        cfg.overlap,
    )  # fmt: skip
    files = OutputFiles(
        Path(cfg.output).expanduser(), cfg.submission, cfg.probabilities, cfg.uncertainty,
        cfg.quicklook, cfg.dicom_seg, cfg.upright, segmenter.labels,
    )  # fmt: skip
    files.check_inputs_are_kept(source, scans)
    settings = {
        "checkpoints": [fingerprint(path) for path in checkpoints],
        "postprocess": None if postprocess is None else plain(cfg.postprocess),
        **{key: plain(cfg[key]) for key in SETTINGS},
        "overlap": segmenter.overlap if segmenter.has_3d else None,
    }
    about = {
        "checkpoints": [str(path) for path in checkpoints], "computed": segmenter.computed,
        "labels": segmenter.labels.as_dict(),
    }  # fmt: skip
    searched = os.path.abspath(source)
    regions = segmenter.labels.table_regions
    record = PredictionRecord(files.folder, settings, about, cfg.skip_existing, searched, regions)
    remaining = [s for s in scans if not (cfg.skip_existing and record.is_done(s, files.label(s)))]
    if cfg.submission:
        (files.folder / ZIP).unlink(missing_ok=True)  # left by an earlier run
    current = {*problems, *(scan.name for scan in scans)}
    record.drop_problems(current, partial(is_requested, requested=requested))
    for name, problem in problems.items():
        report_problem(record, name, problem)
    if cfg.dicom_seg and not any(scan.files for scan in scans):
        print_error("predict", "dicom_seg=true has no effect: the input is not DICOM")
    problems |= segment_all(remaining, cfg.offset_hu, segmenter, files, record)
    return finish(files, scans, len(scans) - len(remaining), found.others, problems)


def find_checkpoints(names: str | Sequence[str]) -> list[Path]:
    """Return the paths ``names``; one with ``*`` stands for all files that match it, sorted."""
    paths: list[Path] = []
    for name in [names] if isinstance(names, str) else names:
        path = str(Path(name).expanduser())
        if not (found := sorted(glob(path)) if "*" in path else [path]):
            raise ValueError(f"checkpoint={name}: no such files")
        paths += map(Path, found)
    return paths


def find_in_table(path: Path) -> "Found":
    """Return the images of a table of cases, named by their ids."""
    from kitsseg.data.io.scan import Found, Scan

    images = [(case.id, case.image) for case in Table().cases(path)]
    return Found([Scan(i, (nifti_ending(f.name) or ".nii.gz").lower(), f) for i, f in images], {})


Requested = set[str | int]  # ids, and KiTS case numbers


def is_requested(name: str, requested: Requested | None) -> bool:
    """Return whether the scan or problem with this name or path belongs to one of the cases."""
    file = Path(name).name
    keys = {name, file, file.removesuffix(nifti_ending(file) or ""), case_number(file)}
    return requested is None or not requested.isdisjoint(keys)


def requested_cases(cases: Any, submission: bool, found: "Found") -> Requested | None:
    """Return the requested cases, by default the cases of a submission; None for all scans.

    ``cases`` holds ids of ``found``, KiTS case numbers or ranges of them, names of parts of KiTS19, or a
    run's ``split.json``, with ``:test`` for its test cases.
    Raises `ValueError` for an unknown id, and if a submission would hold another case or none.
    """
    if cases is None and not submission:
        return None
    known = {*(scan.name for scan in found.scans), *found.problems}
    names, numbers = set[str](), set[int]()
    items = cases if isinstance(cases, list) else ["test" if cases is None else cases]
    parts = ([item] if (p := parse_part(item)) is None else read_part(*p) for item in items)
    for item in chain.from_iterable(parts):
        if str(item) in known and not submission:
            names.add(str(item))
            continue
        if RANGE.fullmatch(str(item)):
            numbers.update(ALL_EDITIONS.choose(item))
            continue
        try:
            numbers.update(parse_cases(item))
        except ValueError as error:
            raise ValueError(
                f"cases={item}: the input has no such case{suggestion(str(item), known)}"
            ) from error
    if submission and (labelled := numbers - set(parse_cases("test"))):
        raise ValueError(f"cases: {min(labelled)} is not a test case; a submission holds 210-299")
    if submission and numbers.isdisjoint(case_number(Path(name).name) for name in known):
        raise ValueError(
            "submission=true: the input has none of the requested test cases of KiTS19 (case_00210 to "
            "case_00299); omit submission=true"
        )
    return {*names, *numbers}


def select_cases(
    scans: "list[Scan]", problems: dict[str, str], requested: Requested | None
) -> "tuple[list[Scan], dict[str, str]]":
    """Return the scans of these cases, and a problem for each case without a readable scan.

    ``problems`` holds messages by name or path. If ``requested`` is None, all scans are returned.
    """
    if requested is None:
        return scans, problems
    explained = {key: why for key, why in problems.items() if is_requested(key, requested)}
    numbers = {case_number(Path(key).name) for key in explained}
    missing: dict[str, str] = {}
    chosen = [scan for scan in scans if scan.name in requested]
    for number in sorted(item for item in requested if isinstance(item, int)):
        same = [scan for scan in scans if scan.number == number]
        if len(same) == 1:
            chosen += [scan for scan in same if scan not in chosen]
        elif number not in numbers:
            files = " and ".join(str(scan.path) for scan in same)
            reason = f"{files} are the same case; remove all but one" if same else "not in the input"
            missing[f"case_{number:05d}"] = f"case_{number:05d}: {reason}"
    return chosen, missing | explained


def segment_all(
    scans: "Sequence[Scan]", offset_hu: int, segmenter: Any, files: "OutputFiles",
    record: "PredictionRecord",
) -> dict[str, str]:  # fmt: skip
    """Segment and record all scans; return the problems by the name of the scan."""
    from kitsseg.data.io.read_scan import read_ahead
    from kitsseg.inference.record import segment_scan

    problems, volumes = {}, read_ahead(scans, offset_hu)
    for scan, volume in zip(tqdm(scans, "segmenting", unit="case", disable=None), volumes, strict=True):
        try:
            entry = segment_scan(scan, volume.result(), segmenter, files)
        except (ValueError, MemoryError) as error:
            problems[scan.name] = str(error) or f"{scan.path}: not enough memory"
            report_problem(record, scan.name, problems[scan.name])
            continue
        record.add(scan.name, entry)
        sizes = (f"{region} {entry[f'{region}_ml']} ml" for region in segmenter.labels.table_regions)
        tqdm.write(f"{scan.name}: {', '.join(sizes)}")
        for warning in entry["warnings"]:
            report(f"warning: {scan.label}: {warning}")
        if "problem" in entry:
            problems[scan.name] = entry["problem"]
            report(entry["problem"])
    return problems


def report_problem(record: "PredictionRecord", name: str, problem: str) -> None:
    """Record and print the problem of a case."""
    record.add(name, {"problem": problem, "searched": record.searched})
    report(problem)


def report(line: str) -> None:
    """Print a line to standard error, above the progress bar."""
    with tqdm.external_write_mode(sys.stderr):
        print_error("predict", line)


def finish(
    files: "OutputFiles", scans: "Sequence[Scan]", kept: int, others: Sequence[str],
    problems: dict[str, str],
) -> int:  # fmt: skip
    """Print a summary, write the archive of a submission, and return the exit code."""
    from kitsseg.inference.record import CSV, ZIP, write_zip

    done = [scan for scan in scans if scan.name not in problems]
    print(
        f"{len(done)} volumes segmented"
        + (f", {kept} of them by an earlier run" if kept else "")
        + (f", {len(problems)} with problems" if problems else "")
        + (f"; ignored: {', '.join(others[:MAX_SHOWN])}" if others else "")
        + (f" and {len(others) - MAX_SHOWN} more" if len(others) > MAX_SHOWN else "")
    )
    print(files.folder / CSV)
    if files.submission and problems:
        print_error("predict", f"{ZIP} is not written while cases have problems; {RESUME}")
    elif files.submission:
        write_zip(files.folder / ZIP, [files.label(scan) for scan in done])
        print(files.folder / ZIP)
    return 1 if problems else 0


if __name__ == "__main__":
    run_command(COMMAND, run, RESUME)
