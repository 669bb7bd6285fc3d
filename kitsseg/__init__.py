"""kitsseg: kidney and kidney-tumour segmentation in CT, reproducible to the table."""

import os

from kitsseg.system import interrupts, memory

__version__ = "0.1.0"

# albumentations asks a server for its newest version at import; nothing here may need a network.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

interrupts.end_early()
memory.settle()
