"""Write a table of the cases of a folder, for ``data=table``.

``python -m experiments.06_kits23_regions.write_table DIR cases.csv`` prints the number of cases.
"""

import csv
import sys
from pathlib import Path

LABEL_NAME = "segmentation_kits23.nii.gz"  # the labels of KiTS23: 1 kidney, 2 tumour, 3 cyst


def write_table(root: Path, table: Path, label_name: str = LABEL_NAME) -> int:
    """Write one row per ``case_*`` folder with an image and a label, and return the number of rows."""
    images = sorted(path.resolve() for path in root.glob("case_*/imaging.nii.gz"))
    cases = [(image, label) for image in images if (label := image.with_name(label_name)).is_file()]
    if not cases:
        raise SystemExit(
            f"{root}: has no case_*/ with imaging.nii.gz and {label_name}; set another folder"
        )
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "image", "label"])
        writer.writerows([image.parent.name, image, label] for image, label in cases)
    return len(cases)


def main() -> None:
    root, table, *label_name = sys.argv[1:]
    print(f"{table}: {write_table(Path(root), Path(table), *label_name)} cases")


if __name__ == "__main__":
    main()
