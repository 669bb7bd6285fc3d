"""Read a data set from a table: a CSV file with the columns id, image and label."""

import csv
import io
from pathlib import Path

from kitsseg.data.case import SPLIT, Case, check_ids
from kitsseg.data.labels import KITS19, Labels
from kitsseg.data.sources.source import Source, check_files
from kitsseg.data.split import PARTS
from kitsseg.system.obstacles import obstacle

REQUIRED = ("id", "image", "label")
DELIMITERS = {";": "a semicolon", "\t": "a tab", "|": "a vertical bar"}


class Table(Source):
    """A CSV file with one row per case.

    ``image`` and ``label`` are paths, relative to the folder of the file or absolute; ``label`` is empty
    for a test case. Other columns are kept in `Case.about`, with lower-case names.
    """

    def cases(self, root: str | Path, labels: Labels = KITS19) -> list[Case]:
        """Return all cases, sorted by id; raise `ValueError` if the table is wrong."""
        path = Path(root).expanduser()
        rows, stored = _read(path), self.stored(labels)
        check_ids([row["id"] for row in rows], path)
        cases = []
        for row in rows:
            about = {name: value for name, value in row.items() if name not in REQUIRED}
            if not row["image"]:
                raise ValueError(f"{path}: case {row['id']}: has no image; add its path")
            if (part := about.get(SPLIT, "")) not in ("", *PARTS):
                options = ", ".join(PARTS)
                raise ValueError(f"{path}: case {row['id']}: {SPLIT}={part}: must be one of {options}")
            image, label = path.parent / row["image"], path.parent / row["label"]
            files = (row["id"], image, label if row["label"] else None)
            cases.append(Case(*files, stored, str(path), self.offset_hu, about))
        check_files([f for case in cases for f in (case.image, case.label) if f is not None], path)
        return sorted(cases, key=lambda case: case.id)


def _read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table by column; names of columns in lower case, values stripped."""
    try:
        rows = [
            [cell.strip() for cell in row] for row in csv.reader(io.StringIO(_text(path), newline=""))
        ]
    except csv.Error as error:
        raise ValueError(f"{path}: is not a CSV file ({error}); save it as CSV") from error
    columns = [name.lower() for name in rows[0]] if rows else []
    if missing := [name for name in REQUIRED if name not in columns]:
        for delimiter, name in DELIMITERS.items():
            if delimiter in ",".join(columns):
                raise ValueError(f"{path}: its delimiter is {name}; save it with commas")
        raise ValueError(f"{path}: lacks the column {', '.join(missing)}; add it to the first line")
    if len({*columns}) < len(columns):
        raise ValueError(f"{path}: columns={columns}: must be different names; rename one")
    filled = [(number, row) for number, row in enumerate(rows[1:], 2) if any(row)]
    for number, row in filled:
        if len(row) != len(columns):
            problem = f"has {len(row)} values, the first line {len(columns)}"
            remedy = "put values with commas in quotes"
            if len(row) < len(columns):
                remedy = "add the missing values, which may be empty"
            raise ValueError(f"{path}: row {number} {problem}; {remedy}")
    if not filled:
        raise ValueError(f"{path}: contains no cases; add one row per case")
    return [dict(zip(columns, row, strict=True)) for _, row in filled]


def _text(path: Path) -> str:
    """Return the text of a file in UTF-8, UTF-16 or Windows' encoding of western languages."""
    try:
        content = path.read_bytes()
    except OSError as error:
        problem = obstacle(path) or f"cannot be read ({error.strerror}); set a CSV file"
        raise ValueError(f"{path}: {problem}") from error
    encodings = ["utf-16"] if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ValueError(f"{path}: is not a text file; save it as CSV in UTF-8")
