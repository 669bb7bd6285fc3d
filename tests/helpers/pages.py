"""Run the commands of a documentation page as printed, with small sizes appended."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from kitsseg import Phantom
from tests import ROOT
from tests.helpers import forks

BLOCK = re.compile(r'^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
TRAINING = [
    "data.batch_size=8", "data.background_keep=1", "data.workers=0", "data.prepare_workers=1",
    "model.width=4", "model.depth=2", "trainer=cpu", "trainer.max_epochs=1", "finetune.epochs=1",
    "logger=csv",
]  # fmt: skip
SMALL: dict[str, list[str]] = {
    "train": TRAINING,
    "verify": ["workers=1", "cases=null"],
    "evaluate": ["workers=1"],
    "predict": ["device=cpu"],
    "prepare": ["data.prepare_workers=1"],
}
PHANTOM = ["data.source.cases=5", "data.source.slices=8", "data.source.size=64", "data.source.workers=1"]


def read(name: str) -> str:
    """Return the text of a page in ``docs/``."""
    return (ROOT / "docs" / name).read_text()


def write_files(text: str, home: Path) -> None:
    """Write the code blocks that have a file name as their title."""
    for _, title, content in BLOCK.findall(text):
        if title:
            (home / title).parent.mkdir(parents=True, exist_ok=True)
            (home / title).write_text(content)


def commands(text: str) -> list[str]:
    """Return the commands of the ``bash`` blocks, without those that install packages."""
    shell = "".join(content for language, _, content in BLOCK.findall(text) if language == "bash")
    lines = shell.replace("\\\n", " ").splitlines()
    return [line for line in lines if line and not line.startswith("pip install")]


def run(text: str, home: Path, replaced: Mapping[str, Sequence[str]] | None = None) -> int:
    """Run the commands of a page in ``home`` and return their number.

    ``replaced`` maps the name of a command to arguments that are appended instead of `SMALL`.
    """
    lines = commands(text.replace(Phantom().key, Phantom(5, 8, 64).key))
    for line in lines:
        program, dash, name, *arguments = shlex.split(line, comments=True)
        assert (program, dash) == ("python", "-m"), line
        short = name.removeprefix("kitsseg.")
        synthetic = "data=phantom" in arguments or "experiment=demo" in arguments
        small = [*({**SMALL, **(replaced or {})}.get(short, [])), *PHANTOM * synthetic]
        keys = {argument.split("=")[0].lstrip("+~") for argument in arguments}
        small = [each for each in small if each.split("=")[0] not in keys]
        said = home / "said.txt"
        said.unlink(missing_ok=True)
        codes = forks.run(home, *arguments, *small, env={"KITSSEG_DATA": "data"}, name=name)
        assert codes == [0], f"{line}\n{said.read_text()}"
    return len(lines)
