"""Apply a trained network, or several, to CT volumes of any origin.

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
    from kitsseg.data.io.nifti import Image
    from kitsseg.data.io.scan import Scan
    from kitsseg.inference.record import PredictionRecord
    from kitsseg.inference.segmenter import Segmenter

# What the label volumes follow from, beside the checkpoints themselves.
SETTINGS = (
    "mirror_axes",
    "crop",
    "precision",
    "runtime",
    "offset_hu",
    "probabilities",
    "uncertainty",
    "quicklook",
    "dicom_seg",
)
TEST_CASES = "test"
AGAIN = "skip_existing=true goes on from here"


def run(cfg: DictConfig) -> int:
    """Find, read, segment, write; the exit code.

    Raises:
        ValueError: there's nothing to do, a checkpoint can't be used, or the output isn't for these.
        OSError: the output can't be written.
    """
    from kitsseg.data.io.find_images import find_images
    from kitsseg.data.io.scans import ReadAhead
    from kitsseg.inference.backends import NAMES
    from kitsseg.inference.record import PredictionRecord
    from kitsseg.inference.segmenter import Segmenter

    checkpoints = [Path(path).expanduser() for path in _listed(cfg.checkpoint)]
    source, output = Path(cfg.input).expanduser(), Path(cfg.output).expanduser()
    found = find_images(source)
    scans, problems = choose(found.scans, found.problems, validation.plain(cfg.cases), cfg.submission)
    refuse_to_overwrite(scans, output, cfg.submission)
    segmenter = Segmenter.load(
        checkpoints,
        cfg.mirror_axes,
        instantiate(cfg.postprocess) if validation.is_on(cfg.postprocess) else None,
        cfg.device,
        cfg.precision,
        cfg.trusted,
        cfg.crop,
        cfg.runtime,
    )
    names, computed = [str(path) for path in checkpoints], segmenter.computed
    record = PredictionRecord(output, settings(cfg, checkpoints), names, computed, cfg.skip_existing)
    for name, by, why in zip(names, computed["runtime"], computed["why"], strict=True):
        print(f"{name}: computed by {NAMES[by]} ({why})")
    files = Files(output, cfg)
    todo = [scan for scan in scans if not record.is_done(scan.name, files.of(scan))]
    for name, problem in problems.items():
        fail(record, name, problem)
    if cfg.dicom_seg and not any(scan.files for scan in scans):
        command_line.say("predict", "dicom_seg=true has no effect: the input isn't DICOM")
    with ReadAhead(todo, cfg.offset_hu) as ahead:
        for scan in tqdm(todo, desc="segmenting", unit="case", disable=None):
            try:
                row = segment(scan, ahead.take(), segmenter, files)
            except (ValueError, MemoryError) as error:
                problems[scan.name] = str(error) or f"{scan.path}: doesn't fit into memory"
                fail(record, scan.name, problems[scan.name])
            else:
                record.add(scan.name, {"input": scan.path, **row})
                tqdm.write(f"{scan.name}: kidney {row['kidney_ml']} ml, tumour {row['tumour_ml']} ml")
    return finish(cfg, files, scans, len(todo), found.others, problems)


def choose(
    scans: "list[Scan]", problems: dict[str, str], asked: Any, submission: bool
) -> "tuple[list[Scan], dict[str, str]]":
    """The scans of the cases that were asked for, and a problem for each that has none."""
    from kitsseg.data.sources.kits import parse_cases

    if asked is None and not submission:
        return scans, dict(problems)
    numbers = parse_cases(TEST_CASES if asked is None else asked)
    if submission and (labelled := set(numbers) - set(parse_cases(TEST_CASES))):
        raise ValueError(f"cases: {min(labelled)} is no test case; a submission holds 210-299")
    there = {scan.number: scan for scan in scans if scan.number is not None}
    names = {number: f"case_{number:05d}" for number in numbers}
    lacking = {name: f"{name}: isn't in the input" for n, name in names.items() if n not in there}
    known = {name: reason for name, reason in problems.items() if name in names.values()}
    return [there[number] for number in numbers if number in there], lacking | known


def refuse_to_overwrite(scans: "Sequence[Scan]", output: Path, submission: bool) -> None:
    """Raise `ValueError` if a result would get the name of an image."""
    inputs = {scan.path.resolve() for scan in scans}
    for scan in scans:
        if (output / label_name(scan, submission)).resolve() in inputs:
            raise ValueError(f"output={output} would overwrite {scan.path}; name another folder")


def settings(cfg: DictConfig, checkpoints: Sequence[Path]) -> dict[str, Any]:
    """What the label volumes follow from, as plain values."""
    from kitsseg.inference.record import fingerprint

    return {
        "checkpoints": [fingerprint(path) for path in checkpoints],
        "postprocess": validation.plain(cfg.postprocess) if validation.is_on(cfg.postprocess) else None,
        **{key: validation.plain(cfg[key]) for key in SETTINGS},
    }


def label_name(scan: "Scan", submission: bool) -> str:
    """The file name of a scan's label volume."""
    return f"prediction_{scan.number:05d}.nii.gz" if submission else f"{scan.name}{scan.ending}"


class Files:
    """Where the results of a scan go, below the folder ``output``."""

    def __init__(self, output: Path, cfg: DictConfig) -> None:
        from kitsseg.data.labels import OFFICIAL
        from kitsseg.inference.segmenter import UNCERTAINTY

        self.output, self.submission = output, bool(cfg.submission)
        self.maps = [f"{r}" for r in OFFICIAL if cfg.probabilities]
        self.maps += [UNCERTAINTY] if cfg.uncertainty else []
        self.quicklook, self.dicom_seg = bool(cfg.quicklook), bool(cfg.dicom_seg)

    def label(self, scan: "Scan") -> Path:
        return self.output / label_name(scan, self.submission)

    def map(self, scan: "Scan", name: str) -> Path:
        kind = name if name not in ("kidney", "tumour") else f"probability_{name}"
        return self.output / kind / f"{scan.name}{scan.ending}"

    def picture(self, scan: "Scan") -> Path:
        return self.output / "quicklook" / f"{scan.name}.png"

    def seg(self, scan: "Scan") -> Path:
        return self.output / "dicom_seg" / f"{scan.name}.dcm"

    def of(self, scan: "Scan") -> list[Path]:
        """All of them."""
        pictures = [self.picture(scan)] if self.quicklook else []
        segs = [self.seg(scan)] if self.dicom_seg and scan.files else []
        return [self.label(scan), *pictures, *segs, *(self.map(scan, name) for name in self.maps)]


def segment(scan: "Scan", image: "Image", segmenter: "Segmenter", files: Files) -> dict[str, Any]:
    """Segment one volume and write its files; its figures.

    Raises:
        OSError: they can't be written.
    """
    from kitsseg.data.case_statistics import pixels_by_slice
    from kitsseg.data.io.write import make_header, read_header, save_volume
    from kitsseg.data.labels import OFFICIAL, REGIONS
    from kitsseg.inference import quicklook
    from kitsseg.system.files import replacing

    layout = image.layout
    made = segmenter.segment(image.hu, layout.spacing_mm, files.maps)
    header = make_header(layout) if scan.files else read_header(scan.path)
    for path in files.of(scan):
        path.parent.mkdir(parents=True, exist_ok=True)
    for name, values in made.maps.items():
        save_volume(files.map(scan, name), values, layout, header, unit=1 / 255)
    voxels = pixels_by_slice(made.label).sum(axis=0)
    ml = {region: float(voxels[list(REGIONS[region])].sum() * layout.voxel_ml) for region in OFFICIAL}
    if files.quicklook:
        picture = quicklook.quick_look(scan.name, image.hu, made.label, layout.spacing_mm, ml)
        with replacing(files.picture(scan)) as temporary:
            temporary.write_bytes(quicklook.png(picture))
    if files.dicom_seg and scan.files:
        from kitsseg.data.io.dicom_seg import save_seg

        save_seg(files.seg(scan), scan, made.label, layout)
    save_volume(files.label(scan), made.label, layout, header)
    spacing = zip(("slice_mm", "row_mm", "column_mm"), layout.spacing_mm, strict=True)
    return {
        **{f"{region}_ml": f"{value:.3f}" for region, value in ml.items()},
        "slices": len(image.hu),
        **{name: f"{mm:.6g}" for name, mm in spacing},
    }


def fail(record: "PredictionRecord", name: str, problem: str) -> None:
    """Keep the problem and say it."""
    record.add(name, {"problem": problem})
    with tqdm.external_write_mode(sys.stderr):
        command_line.say("predict", problem)


def finish(
    cfg: DictConfig,
    files: Files,
    scans: "Sequence[Scan]",
    segmented: int,
    others: int,
    problems: dict[str, str],
) -> int:
    """Write the archive of a submission, say what there is; the exit code."""
    from kitsseg.inference.record import CSV, ZIP, write_zip

    done = [scan for scan in scans if scan.name not in problems]
    kept = len(scans) - segmented
    print(
        f"{len(done)} volumes segmented"
        + (f", {kept} of them by an earlier run" if kept else "")
        + (f", {len(problems)} with problems" if problems else "")
        + (f"; {others} other files left alone" if others else "")
    )
    print(files.output / CSV)
    if cfg.submission and not problems:
        write_zip(files.output / ZIP, [files.label(scan) for scan in done])
        print(files.output / ZIP)
    elif cfg.submission:
        (files.output / ZIP).unlink(missing_ok=True)  # of an earlier run
        command_line.say(
            "predict",
            f"{ZIP} isn't written while cases have problems; skip_existing=true goes on from here",
        )
    return 1 if problems else 0


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def main() -> None:
    """The command."""
    command_line.hand_over("predict", run, AGAIN)


if __name__ == "__main__":
    main()
