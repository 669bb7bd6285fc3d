"""Select the cases of a part of a run's split: ``RUN/split.json:test``."""

import json
import re
from pathlib import Path

from kitsseg.data.case import TEST
from kitsseg.data.split import PARTS, VALIDATION


def parse_part(text: object) -> tuple[Path, str] | None:
    """Return file and part of ``split.json`` or ``split.json:test``; None for another text.

    The part is ``validation`` by default.
    """
    match = re.fullmatch(r"(.+\.json)(?::(\w*))?", text) if isinstance(text, str) else None
    return None if match is None else (Path(match[1]).expanduser(), match[2] or VALIDATION)


def read_part(path: Path, part: str) -> list[str]:
    """Return the sorted case ids of a part in a run's ``split.json``; raise `ValueError` without any."""
    if part not in PARTS:
        raise ValueError(f"cases={path}:{part}: the part must be one of {', '.join(PARTS)}")
    try:
        ids = sorted(map(str, json.loads(path.read_text()).get(part, [])))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"cases={path}: is not the split.json of a run ({error})") from error
    if not ids:
        remedy = "; train with split.test=0.2" if part == TEST else ""
        raise ValueError(f"cases={path}:{part}: the split has no {part} cases{remedy}")
    return ids
