"""Write Table 1 and the HTML report of any runs, sweeps and evaluations.

``python -m kitsseg.report --help``
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import MISSING, DictConfig

from kitsseg.config.command_line import run_command
from kitsseg.config.components import instantiate
from kitsseg.config.validation import Command, plain
from kitsseg.data.suggestions import suggestion

if TYPE_CHECKING:
    from kitsseg.data.case import Case
    from kitsseg.evaluation.metrics import SplitScores
    from kitsseg.reporting.run_record import Record
    from kitsseg.reporting.runs import Job
    from kitsseg.reporting.table_rows import Number


@dataclass
class ReportConfig:
    """Schema of ``conf/report.yaml``."""

    runs: Any = MISSING
    output: str | None = None
    margin: float = 0.02
    cell: str | None = None
    recompute: bool = False
    root: str | None = None
    share: str | None = None
    site: str | None = None
    hash_ids: str | None = None


def check_folders(values: dict[str, Any], built: dict[str, Any]) -> list[str]:
    """Return the problems of the values, such as a folder of ``runs`` that does not exist."""
    places = places_of(values["runs"])
    if not places or not all(isinstance(place, str) for _, place in places):
        return [f"runs={values['runs']}: must be a folder, a list of folders, or folders by site"]
    if not values["margin"] > 0:
        return [f"margin={values['margin']}: must be above 0; a difference in Dice, such as 0.02"]
    if values["cell"] is None and values["recompute"]:
        return ["recompute=true: has no effect without cell=; cell=all recomputes every number"]
    names = [site for site, _ in places if site] + [values["site"]] * (values["site"] is not None)
    for name in (name for name in names if not re.fullmatch(r"\w[\w .-]*", name)):
        return [f"site={name}: must consist of letters, digits, spaces, dots, _ and -"]
    if values["share"] is not None and values["site"] is None:
        return [f"share={values['share']}: needs a name for this site, such as site=hospital_a"]
    for key in (key for key in ("site", "hash_ids") if values["share"] is None):
        if values[key] is not None:
            return [f"{key}={values[key]}: has no effect without share="]
    return [f"runs={f}: no such folder" for _, f in places if not Path(f).expanduser().exists()]


def places_of(value: Any) -> list[tuple[str, Any]]:
    """Return site and folder of each entry of ``runs``; the site is empty if it has no name."""
    by_site = value.items() if isinstance(value, dict) else [("", value)]
    return [
        (str(site), place)
        for site, each in by_site
        for place in (each if isinstance(each, list) else [each])
    ]


STAGES = {"train": "before", "finetune": "after"}  # field of the record with the scores
COMMAND = Command("report", ReportConfig, check=check_folders)


def run(cfg: DictConfig) -> int:
    """Write the tables and the page; with ``share`` or ``cell``, share records or print numbers."""
    from kitsseg.reporting.html import page

    searched = plain(cfg.runs)
    jobs = find_jobs(searched)
    if cfg.share is not None:
        return share(jobs, cfg)
    if cfg.cell is not None:
        return print_numbers(jobs, cfg)
    folders = [Path(place).expanduser() for _, place in places_of(searched)]
    default = folders[0] if len(folders) == 1 and folders[0].is_dir() else Path("report")
    output = default if cfg.output is None else Path(cfg.output).expanduser()
    output.mkdir(parents=True, exist_ok=True)
    paths = page.publish(jobs, output, cfg.margin, searched)
    print(f"{sum(job.record is not None for job in jobs)} of {len(jobs)} runs have results")
    for job in jobs:
        if job.reason:
            print(f"{job.state}: {job.folder} ({job.reason})")
    print(*paths, sep="\n")
    return 0


def find_jobs(searched: Any) -> "list[Job]":
    """Return the jobs of all folders and shared files, each with its site if any has one.

    Raises:
        ValueError: a folder contains no job, or only some jobs have a site.
    """
    from kitsseg.reporting import runs
    from kitsseg.reporting.sites import exchange

    found: dict[str, list[Path]] = {}
    jobs = []
    for site, place in places_of(searched):
        path = Path(place).expanduser()
        if path.is_file():
            jobs += exchange.read(path, site)
        else:
            found.setdefault(site, []).append(path)
    for site, folders in found.items():
        for job in runs.find_jobs(folders):
            record = job.record
            if record is not None and site:
                record = exchange.at_site(record, site)
            jobs.append(replace(job, record=record))
    sites = {job.record.site: job.folder for job in jobs if job.record is not None}
    if "" in sites and len(sites) > 1:
        here = sites[""]
        raise ValueError(f"runs: {here} has no site, but others have; name it: runs={{A:{here},B:...}}")
    return jobs


def share(jobs: "Sequence[Job]", cfg: DictConfig) -> int:
    """Write the records of all jobs into one file without images, and print what it contains."""
    from kitsseg.reporting.sites import exchange
    from kitsseg.system.files import write_json

    records = [job.record for job in jobs if job.record is not None]
    if not records:
        raise ValueError(f"runs={cfg.runs}: holds no finished run to share")
    secret = None if cfg.hash_ids is None else exchange.read_secret(Path(cfg.hash_ids).expanduser())
    path = Path(cfg.share).expanduser()
    write_json(path, exchange.shared(records, cfg.site, secret))
    cases = {case for record in records for part in record.final.values() for case in part}
    models = ", ".join(dict.fromkeys(record.model for record in records))
    print(f"{path}: {len(records)} runs ({models}), {len(cases)} cases of {cfg.site}")
    ids = "the case ids of the data set" if secret is None else "hashes instead of case ids"
    print(f"It holds {ids}, and no images, folders or machines. The file is plain text.")
    print("Check its content before you send it.")
    if secret is not None:
        print(
            f"{cfg.hash_ids}: keep this file secret and use it again, so that each case keeps its hash"
        )
    return 0


def print_numbers(jobs: "Sequence[Job]", cfg: DictConfig) -> int:
    """Compute and print the number that ``cell`` names, or all numbers; return the exit code.

    With ``recompute``, the code is 1 if a number differs from the number that the records give.
    """
    known = numbers_of(jobs, cfg.margin)
    if cfg.cell != "all" and cfg.cell not in known:
        near = suggestion(cfg.cell, known)
        raise ValueError(f"cell={cfg.cell}: the report has no such number{near}; cell=all lists them")
    chosen = list(known.values()) if cfg.cell == "all" else [known[cfg.cell]]
    computed = known
    if cfg.recompute:
        needed: dict[int, set[str]] = defaultdict(set)  # cases by id of the record
        for number, row in ((n, row) for n in chosen for row in n.rows):
            for record in row.runs:
                own = {case for part in record.final.values() for case in part}
                needed[id(record)] |= own.intersection(number.cases)
        kinds = {number.name.partition("/")[0] for number in chosen}
        before = {"before", "corrected_before"}
        stages = {"train"} if kinds & {*before, "tuning"} else set()
        stages |= {"finetune"} if kinds - before else set()
        again = [rescored(job, needed[id(job.record)], stages, cfg.root) for job in jobs]
        computed = numbers_of(again, cfg.margin)
    differing = 0
    for number in chosen:
        new = computed.get(number.name, "undefined")
        is_equal = new == number
        differing += not is_equal
        print(f"{number.name}: {new}" + ("" if is_equal else f" (the records give {number})"))
    if cfg.cell != "all":
        print(*sources_of(chosen[0], jobs), sep="\n")
    if cfg.recompute:
        print(f"{len(chosen) - differing} of {len(chosen)} numbers are equal to those of the records")
    return 1 if differing else 0


def numbers_of(jobs: "Sequence[Job]", margin: float) -> "dict[str, Number]":
    """Return all numbers of the page by name."""
    from kitsseg.reporting import tables
    from kitsseg.reporting.html import trace

    records = [job.record for job in jobs if job.record is not None]
    return trace.numbers(tables.study(records, margin=margin))


def sources_of(number: "Number", jobs: "Sequence[Job]") -> "Iterator[str]":
    """Yield one line for each run and each case that a number was computed from."""
    for job in (j for row in number.rows for run in row.runs for j in jobs if j.record is run):
        record = job.record
        assert record is not None
        commit = record.environment.get("commit", "")
        files = (f"checkpoints/{stage} {sha256}" for stage, sha256 in record.checkpoints.items())
        yield ", ".join([f"run {job.folder}", f"seed {record.seed}", f"commit {commit}", *files])
    hashes = {case: h for row in number.rows for run in row.runs for case, h in run.hashes.items()}
    for case in number.cases:
        yield ", ".join([f"case {case}", *(f"{k} {v}" for k, v in hashes.get(case, {}).items())])


def rescored(job: "Job", cases: Collection[str], stages: Collection[str], root: str | None) -> "Job":
    """Return a job whose Dice of ``cases`` after some ``stages`` is computed again with its checkpoints.

    Raises:
        ValueError: a checkpoint, image or label is missing or differs from the one that the run used.
    """
    from kitsseg.reporting.sites import exchange
    from kitsseg.system.files import fingerprint

    if not cases or (record := job.record) is None:
        return job
    source = record.config.get("data", {}).get("source", {})
    # A record may come from elsewhere, and its configuration could name any function.
    if not str(source.get("_target_", "")).startswith("kitsseg.data.sources."):
        raise ValueError(
            f"{job.folder}: has no data source, so its cases cannot be segmented again; for label "
            "volumes, run kitsseg.evaluate again"
        )
    place = record.config["data"]["root"] if root is None else root
    cases_found = instantiate(source).find(place, record.label_set)
    found = {exchange.case_at(record.site, case.id): case for case in cases_found}
    for case in sorted(cases):
        if case not in found:
            raise ValueError(f"root={place}: has no {case}; set root to the folder of the data set")
        files = {"image": found[case].image, "label": found[case].truth}
        for kind, sha256 in record.hashes.get(case, {}).items():
            if fingerprint(files[kind]) != sha256:
                raise ValueError(f"{files[kind]}: differs from the file that {job.folder} used")
    chosen = {case: found[case] for case in sorted(cases)}
    stages = {"train"} if record.after is None else stages
    scores: dict[str, Any] = {STAGES[s]: score(job.folder, record, s, chosen) for s in stages}
    return replace(job, record=replace(record, **scores))


def score(folder: Path, record: "Record", stage: str, cases: "Mapping[str, Case]") -> "SplitScores":
    """Return the scores of a stage. The scores of ``cases``, a dict by id, are computed again."""
    from tqdm import tqdm

    from kitsseg.data.io.nifti.read import read_label_volume
    from kitsseg.data.io.read_scan import read_image
    from kitsseg.inference.segmenter import Segmenter
    from kitsseg.system.files import fingerprint
    from kitsseg.training.final_evaluation import score_case

    path = folder / "checkpoints" / stage / "best.ckpt"
    if not path.is_file():
        raise ValueError(f"{path}: no such file; without recompute=true, the records are enough")
    if record.checkpoints.get(stage, sha256 := fingerprint(path)) != sha256:
        raise ValueError(f"{path}: differs from the checkpoint that the run evaluated")
    segmenter = Segmenter.load(
        path, record.config["mirror_axes"], precision=record.environment["precision"], crop=False
    )
    old: SplitScores = getattr(record, STAGES[stage])
    new = {part: dict(entries) for part, entries in old.items()}
    shown = tqdm(cases.items(), f"{folder.name}, {stage}", unit="case", leave=False, disable=None)
    for name, case in shown:
        image, truth = read_image(case.image, case.offset_hu), read_label_volume(case.truth, case.stored)
        label = segmenter.segment(image.hu, image.layout.spacing_mm).label
        again = score_case(label, truth.label, record.label_set)
        for entries in (entries for entries in new.values() if name in entries):
            entries[name] = {**entries[name], **again}
    return new


if __name__ == "__main__":
    run_command(COMMAND, run, "run the same command again")
