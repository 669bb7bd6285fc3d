"""Numbers of the page lead to their sources, and to a command that computes them again."""

import html
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from kitsseg.reporting import runs, tables
from kitsseg.reporting.html import page, trace
from tests.helpers.commands import find_problems
from tests.helpers.reports import traced
from tests.reporting.html.made import record, sweep, write_run


def published(folder: Path) -> str:
    return page.publish(runs.find_jobs([folder]), folder)[-1].read_text(encoding="utf-8")


def test_every_number_of_a_table_is_a_link_and_its_value_follows_from_the_records(
    tmp_path: Path,
) -> None:
    text = published(sweep(tmp_path))
    tables_of_figures = re.findall(r'<table class="figures.*?</table>', text, re.DOTALL)
    cells = re.findall(r"<td>(.*?)</td>", "".join(tables_of_figures), re.DOTALL)
    papers = {cell for _, *cells in tables.PAPER for cell in cells}
    linked = [cell for cell in cells if re.search(r"\d", cell) and cell not in papers]
    assert len(linked) > 50 and all(cell.startswith('<a href="#from-') for cell in linked)
    shown = {name: number for number, name in traced(text)}
    assert len(shown) == len(traced(text)), "a name stands for two numbers"
    before, after = (
        ([0.1, 0.5, 0.7, 0.8], [0.0, 0.4, 0.7, 0.9]),
        ([0.2, 0.5, 0.8, 0.8], [0.3, 0.6, 0.8, 0.95]),
    )
    for name, (old, new) in {"unet": before, "attn_unet": after}.items():
        for kind, values in {"before": old, "mean": new}.items():
            found = shown[f"{kind}/{name}/validation/tumour"]
            assert found.startswith(f"{np.mean(values):.3f} [")
        change = np.mean(np.subtract(new, old))
        assert shown[f"tuning/{name}/tumour"].replace("−", "-").startswith(f"{change:+.3f}")
    difference = float(shown["difference/attn_unet/unet/tumour"].split()[0])
    assert difference == pytest.approx(np.mean(after[1]) - 0.5, abs=0.0006)
    assert shown["cases/attn_unet/unet/tumour"] == "4"
    assert shown["case/unet/tumour/case_00013"] == "0.900" and shown["volume/case_00013"] == "16.0"


def test_the_commands_of_a_page_run_with_any_labels_and_folders(tmp_path: Path) -> None:
    folder = tmp_path / "50% (old), it's"
    for number, option in enumerate(('loss="a b"', "loss=[x,'y']")):
        run = record("unet", [0.5] * 4, [0.6] * 4, overrides=["model=unet", option])
        write_run(folder / str(number), run)
    text = published(folder)
    commands = re.findall(r"python -m kitsseg.report .*", html.unescape(text.split('id="sources"')[1]))
    assert len(commands) > 8
    known = trace.numbers(tables.study([j.record for j in runs.find_jobs([folder]) if j.record]))
    assert 'mean/unet, loss="a b"/validation/tumour' in known
    for line in commands[:3] + commands[-3:]:
        *_, where, cell = shlex.split(line.removesuffix("</pre>").split("</pre>")[0])
        assert find_problems("report", [where, cell]) == []


def test_hashes_that_differ_between_runs_are_all_listed(tmp_path: Path) -> None:
    for number, letter in enumerate("ad"):
        hashes = {f"case_{i:05d}": {"image": 64 * letter} for i in range(20)}
        write_run(
            tmp_path / str(number), record("unet", [0.5] * 2, [0.6] * 2, seed=number, hashes=hashes)
        )
    assert f"image: {64 * 'a'} or {64 * 'd'}" in published(tmp_path)


def test_records_without_hashes_say_so(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "old", record("unet", [0.5] * 2, [0.6] * 2))
    values = json.loads((folder / "result.json").read_text())
    for name in ("hashes", "checkpoints", "site"):
        del values[name]
    (folder / "result.json").write_text(json.dumps(values))
    text = published(tmp_path).split('id="sources"')[1]
    assert text.count("not recorded") == 1 + 3  # one run; its training case and two validation cases
