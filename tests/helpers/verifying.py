"""Run `kitsseg.verify` on small cases."""

import json
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from kitsseg.config.validation import CONFIG_DIR
from kitsseg.verify import run
from tests.conftest import blocky, write_case


def verify(root: Path, *overrides: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the report."""
    report = root.parent / "report.json"
    given = [f"root={root}", f"report={report}", "workers=1", *overrides]
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        code = run(compose("verify", given))
    return code, json.loads(report.read_text())


def fine(root: Path) -> Path:
    """Write four intact cases and their ``kits.json``."""
    for number in range(4):
        write_case(root, number, *blocky(number))
    published = {"x_spacing": 0.8, "y_spacing": 0.8, "z_spacing": 3.0}
    entries = [{"case_id": f"case_{n:05d}", "voxel_spacing": published} for n in range(4)]
    (root / "kits.json").write_text(json.dumps(entries))
    return root


def case(report: dict[str, Any], number: int) -> dict[str, Any]:
    return next(c for c in report["cases"] if c["id"] == f"case_{number:05d}")


def expect_only_problem(raw: Path, text: str) -> None:
    """Expect one problem, of case 1, that starts with the path and ``text``."""
    code, report = verify(raw)
    problems = [problem for c in report["cases"] for problem in c["problems"]]
    assert code == 1 and case(report, 1)["problems"] == problems and report["problems"] == []
    assert len(problems) == 1 and problems[0].startswith(f"{raw}/case_00001/{text}")
