"""The command `kitsseg.report` and the numbers of its page."""

import re
from html import unescape
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from kitsseg.report import ReportConfig


def traced(page: str) -> list[tuple[str, str]]:
    """Return text and name of each traced number of a report, in the order of the page."""
    links = re.findall(r'<a href="#from-\w+" title="cell=([^"]*)" class="number">([^<]*)</a>', page)
    return [(unescape(text), unescape(name)) for name, text in links]


def report_config(runs: object, **values: object) -> DictConfig:
    """Return the configuration of `kitsseg.report` with these values."""
    found = str(runs) if isinstance(runs, Path) else runs
    return OmegaConf.merge(OmegaConf.structured(ReportConfig), {"runs": found, **values})
