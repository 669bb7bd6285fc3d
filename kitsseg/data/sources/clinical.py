"""What is known of the patients besides their images: KiTS19's ``kits.json``, where there is one."""

import json
import logging
from pathlib import Path
from typing import Any

from kitsseg.data.case import CLINICAL_NAME

log = logging.getLogger("kitsseg")

# What comparisons use of it: the tumour's largest diameter on CT in cm, TNM's T from pathology, and
# whether it was malignant. Records keep no more of a patient than that.
FIELDS = ("radiographic_size", "pathology_t_stage", "malignant")


def read_clinical(root: str | Path) -> dict[str, dict[str, Any]]:
    """``{case: {field: value or None}}`` from ``kits.json`` in ``root`` or its ``data/``.

    Without the file it is empty. A file that isn't KiTS19's list is one warning and empty too, and
    entries without a case id are left out with one: a run doesn't fail for want of it.
    """
    root = Path(root).expanduser()
    path = next((p for p in (root / CLINICAL_NAME, root / "data" / CLINICAL_NAME) if p.is_file()), None)
    if path is None:
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        log.warning(f"{path}: cannot be read ({error}); no figures by tumour size or stage")
        return {}
    if not isinstance(entries, list):
        kind = type(entries).__name__
        log.warning(f"{path}: is a {kind}, not a list of cases; no figures by tumour size or stage")
        return {}
    named = [e for e in entries if isinstance(e, dict) and isinstance(e.get("case_id"), str)]
    if lost := len(entries) - len(named):
        log.warning(f"{path}: {lost} of {len(entries)} entries have no case_id and are left out")
    return {entry["case_id"]: {name: entry.get(name) for name in FIELDS} for entry in named}
