"""Apply one or several trained networks to CT volumes.

``python -m kitsseg.predict --help``
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig
from tqdm import tqdm

from kitsseg.config import command_line, validation
from kitsseg.config.components import instantiate

if TYPE_CHECKING:
    from kitsseg.data.io.scan import Scan
    from kitsseg.inference.outputs import OutputFiles
    from kitsseg.inference.record import PredictionRecord

# Settings that determine the output files, besides the checkpoints and post-processing.
SETTINGS = (
    "mirror_axes", "crop", "precision", "offset_hu", "probabilities", "uncertainty", "quicklook",
    "dicom_seg",
)  # fmt: skip
RESUME = "skip_existing=true resumes"


def run(cfg: DictConfig) -> int:
    """Segment the input, write the results, and return the exit code.

    Raises:
        ValueError: there is no input, a checkpoint cannot be used, or the output folder holds results of
            other settings.
        OSError: the output cannot be written.
    """
    from kitsseg.data.io.find_images import find_images
    from kitsseg.inference.outputs import OutputFiles, check_inputs_are_kept
    from kitsseg.inference.record import PredictionRecord
    from kitsseg.inference.segmenter import Segmenter
    from kitsseg.inference.select_cases import select_cases

    paths = [cfg.checkpoint] if isinstance(cfg.checkpoint, str) else cfg.checkpoint
    checkpoints = [Path(path).expanduser() for path in paths]
    found = find_images(Path(cfg.input).expanduser())
    cases = validation.plain(cfg.cases)
    scans, problems = select_cases(found.scans, found.problems, cases, cfg.submission)
    files = OutputFiles(
        Path(cfg.output).expanduser(), cfg.submission, cfg.probabilities, cfg.uncertainty,
        cfg.quicklook, cfg.dicom_seg,
    )  # fmt: skip
    check_inputs_are_kept(scans, files)
    segmenter = Segmenter.load(
        checkpoints,
        cfg.mirror_axes,
        instantiate(cfg.postprocess) if validation.is_on(cfg.postprocess) else None,
        cfg.device,
        cfg.precision,
        cfg.trusted,
        cfg.crop,
    )
    record = PredictionRecord(
        files.folder, settings(cfg, checkpoints), [str(path) for path in checkpoints],
        segmenter.computed, cfg.skip_existing,
    )  # fmt: skip
    remaining = [scan for scan in scans if not record.is_done(scan.name, files.all(scan))]
    for name, problem in problems.items():
        report_problem(record, name, problem)
    if cfg.dicom_seg and not any(scan.files for scan in scans):
        command_line.say("predict", "dicom_seg=true has no effect: the input is not DICOM")
    problems |= segment_all(remaining, cfg.offset_hu, segmenter, files, record)
    return finish(files, scans, len(scans) - len(remaining), found.others, problems)


def settings(cfg: DictConfig, checkpoints: Sequence[Path]) -> dict[str, Any]:
    """Return the settings that determine the output files, as plain values."""
    from kitsseg.inference.record import fingerprint

    return {
        "checkpoints": [fingerprint(path) for path in checkpoints],
        "postprocess": validation.plain(cfg.postprocess) if validation.is_on(cfg.postprocess) else None,
        **{key: validation.plain(cfg[key]) for key in SETTINGS},
    }


def segment_all(
    scans: "Sequence[Scan]", offset_hu: int, segmenter: Any, files: "OutputFiles",
    record: "PredictionRecord",
) -> dict[str, str]:  # fmt: skip
    """Segment and record all scans; return the problems by the name of the scan."""
    from kitsseg.data.io.scans import ReadAhead
    from kitsseg.inference.outputs import segment_scan

    problems = {}
    with ReadAhead(scans, offset_hu) as ahead:
        for scan in tqdm(scans, desc="segmenting", unit="case", disable=None):
            try:
                row = segment_scan(scan, ahead.take(), segmenter, files)
            except (ValueError, MemoryError) as error:
                problems[scan.name] = str(error) or f"{scan.path}: not enough memory"
                report_problem(record, scan.name, problems[scan.name])
            else:
                record.add(scan.name, {"input": scan.path, **row})
                tqdm.write(f"{scan.name}: kidney {row['kidney_ml']} ml, tumour {row['tumour_ml']} ml")
    return problems


def report_problem(record: "PredictionRecord", name: str, problem: str) -> None:
    """Record and print the problem of a case."""
    record.add(name, {"problem": problem})
    with tqdm.external_write_mode(sys.stderr):
        command_line.say("predict", problem)


def finish(
    files: "OutputFiles", scans: "Sequence[Scan]", kept: int, others: int, problems: dict[str, str]
) -> int:
    """Print a summary, write the archive of a submission, and return the exit code."""
    from kitsseg.inference.record import CSV, ZIP, write_zip

    done = [scan for scan in scans if scan.name not in problems]
    print(
        f"{len(done)} volumes segmented"
        + (f", {kept} of them by an earlier run" if kept else "")
        + (f", {len(problems)} with problems" if problems else "")
        + (f"; {others} other files ignored" if others else "")
    )
    print(files.folder / CSV)
    if files.submission and not problems:
        write_zip(files.folder / ZIP, [files.label(scan) for scan in done])
        print(files.folder / ZIP)
    elif files.submission:
        (files.folder / ZIP).unlink(missing_ok=True)  # of an earlier run
        command_line.say("predict", f"{ZIP} is not written while cases have problems; {RESUME}")
    return 1 if problems else 0


def main() -> None:
    """Run the command."""
    command_line.hand_over("predict", run, RESUME)


if __name__ == "__main__":
    main()
