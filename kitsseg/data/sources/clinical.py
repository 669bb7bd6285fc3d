"""Clinical data of the patients, from KiTS19's ``kits.json``."""

import json
import logging
from pathlib import Path
from typing import Any

from kitsseg.data.case import CLINICAL_NAME

log = logging.getLogger("kitsseg")

# Largest tumour diameter on CT in cm, T stage, malignancy. Records store no other data of a patient.
FIELDS = ("radiographic_size", "pathology_t_stage", "malignant")


def read_clinical(root: str | Path) -> dict[str, dict[str, Any]]:
    """Return ``{case: {field: value or None}}`` from ``kits.json`` in ``root`` or its ``data/``.

    The result is empty if there is no file. A malformed file or entry logs a warning and is ignored.
    """
    root = Path(root).expanduser()
    path = next((p for p in (root / CLINICAL_NAME, root / "data" / CLINICAL_NAME) if p.is_file()), None)
    if path is None:
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(entries, list):
            raise ValueError(f"it is a {type(entries).__name__}, not a list")
    except (OSError, ValueError) as error:
        log.warning(f"{path}: cannot be read ({error}); results by tumour size and stage are omitted")
        return {}
    named = [e for e in entries if isinstance(e, dict) and isinstance(e.get("case_id"), str)]
    if ignored := len(entries) - len(named):
        log.warning(f"{path}: {ignored} of {len(entries)} entries have no case_id and are ignored")
    return {entry["case_id"]: {name: entry.get(name) for name in FIELDS} for entry in named}
