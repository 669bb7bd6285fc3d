"""The commands of ``docs/how-to/your-data.md`` run as printed, with small sizes appended."""

import csv
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests import ROOT
from tests.conftest import blocky, write_case
from tests.helpers import forks
from tests.helpers.sources import link, nnunet, write_json

PAGE = (ROOT / "docs" / "how-to" / "your-data.md").read_text()
SECTIONS = {part.split("\n", 1)[0]: part for part in PAGE.split("\n## ")}
SMALL = {
    "train": [
        "data.batch_size=8", "data.background_keep=1", "data.workers=0", "data.prepare_workers=1",
        "model.width=4", "model.depth=2", "trainer=cpu", "trainer.max_epochs=1",
        "finetune.epochs=1", "logger=csv",
    ],
    "verify": ["workers=1", "cases=null"],
    "evaluate": ["workers=1"],
    "predict": ["device=cpu", "quicklook=false"],
    "prepare": ["data.size=32", "data.prepare_workers=1"],
}  # fmt: skip
PHANTOM = ["data.source.cases=2", "data.source.slices=8", "data.source.size=64", "data.source.workers=1"]


def blocks(section: str, language: str = "") -> list[str]:
    """Return the code blocks of a section in ``language``."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", SECTIONS[section], re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


def run_commands(section: str, home: Path) -> int:
    """Run the commands of a section in ``home``; ``RUN`` is a link to the run of the last training."""
    lines = "".join(blocks(section)).replace("\\\n", " ").splitlines()
    commands = [line for line in lines if line.startswith("python -m kitsseg.")]
    for line in commands:
        name, *arguments = shlex.split(line, comments=True)[2:]
        small = SMALL[name.removeprefix("kitsseg.")] + PHANTOM * ("data=phantom" in arguments)
        said = home / "said.txt"
        said.unlink(missing_ok=True)
        codes = forks.run(home, *arguments, *small, env={"KITSSEG_DATA": "data"}, name=name)
        assert codes == [0], f"{line}\n{said.read_text()}"
        if name == "kitsseg.train":
            (home / "RUN").unlink(missing_ok=True)
            lines = said.read_text().splitlines()
            (start,) = (line for line in lines if ", folder " in line)
            (home / "RUN").symlink_to(start.rsplit(", folder ", 1)[1])
    return len(commands)


def test_a_folder_of_nnunet(tmp_path: Path) -> None:
    cases = [write_case(tmp_path / "raw", n, *blocky(n)) for n in range(1, 8)]
    *training, test = [replace(case, id=f"liver_{n:03d}") for n, case in enumerate(cases, 1)]
    (content,) = (json.loads(text) for text in blocks("nnU-Net's layout", "json"))
    root = nnunet(tmp_path / "DIR", training, **content)
    link(test.image, root / "imagesTs" / f"{test.id}_0000.nii.gz")
    for name in re.findall(r"^  (\S+)", blocks("nnU-Net's layout")[0], re.MULTILINE):
        assert (root / name).is_file()
    fold = {"train": [case.id for case in training[:4]], "val": [case.id for case in training[4:]]}
    write_json(tmp_path / "splits_final.json", [fold])

    assert run_commands("nnU-Net's layout", tmp_path) == 5
    assert "| Train liver " in (tmp_path / "RUN" / "table1.md").read_text()
    assert (tmp_path / "RUN" / "report.html").is_file()
    assert [path.name for path in (tmp_path / "predictions").glob("*.nii.gz")] == ["liver_007.nii.gz"]
    evaluated = json.loads((tmp_path / "metrics" / "evaluation.json").read_text())["cases"]
    assert all(set(case["dice"]) == {"liver", "tumor"} for case in evaluated.values())
    split = json.loads((tmp_path / "RUN" / "split.json").read_text())
    assert split["validation"] == fold["val"]


def test_a_table(tmp_path: Path) -> None:
    (text,) = (block for block in blocks("A table") if block.startswith("id,"))
    (tmp_path / "cases.csv").write_text(text)
    for number, row in enumerate(csv.DictReader(text.splitlines())):
        case = write_case(tmp_path / "raw", number, *blocky(number))
        link(case.image, tmp_path / row["image"])
        if row["label"]:
            link(case.label, tmp_path / row["label"])
    assert run_commands("A table", tmp_path) == 4
    predicted = sorted(path.name for path in (tmp_path / "predictions").glob("*.nii.gz"))
    assert predicted == ["a01.nii.gz", "a02.nii.gz", "b01.nii.gz", "c01.nii.gz"]
    evaluated = json.loads((tmp_path / "metrics" / "evaluation.json").read_text())["cases"]
    assert sorted(evaluated) in (["a01", "a02"], ["b01"])  # one patient


def test_the_layout_of_kits(tmp_path: Path) -> None:
    for number in range(3):
        write_case(tmp_path / "DIR", number, *blocky(number))
    assert run_commands("Verify", tmp_path) == 3
    assert run_commands("Prepare", tmp_path) == 1
    assert run_commands("The synthetic data set", tmp_path) == 1
    assert np.load(next((tmp_path / "data").rglob("*.npy")), mmap_mode="r").shape[-1] == 32
