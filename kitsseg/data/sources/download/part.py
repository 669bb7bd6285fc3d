"""What has arrived of a file, kept until it is whole.

It lies in hidden files beside the target, ``.NAME.part`` and ``.NAME.part.json``, so a process may be
killed at any moment and the next one goes on from there.
"""

import json
import os
from pathlib import Path


class Part:
    """What has arrived of a file, and of which file: only the rest of that very file is added to it."""

    def __init__(self, target: Path, url: str) -> None:
        self.target, self.url = target, url
        self.path = target.with_name(f".{target.name}.part")
        self.card = target.with_name(f".{target.name}.part.json")
        self.size, self.length, self.validator = 0, None, None
        try:
            card, size = json.loads(self.card.read_text()), self.path.stat().st_size
            if card["url"] == url and (card["length"] is None or size <= card["length"]):
                self.size, self.length, self.validator = size, card["length"], card["validator"]
        except (OSError, ValueError, KeyError, TypeError):
            pass  # never begun, or the card was cut off by a full disk: from the beginning

    def restart(self, length: int | None, validator: str | None) -> None:
        """Forget what is there; the card comes before the first byte that it speaks of."""
        self.path.unlink(missing_ok=True)
        self.size, self.length, self.validator = 0, length, validator
        self.card.write_text(json.dumps({"url": self.url, "length": length, "validator": validator}))

    def finish(self) -> None:
        """Give the file its name."""
        os.replace(self.path, self.target)
        self.card.unlink(missing_ok=True)
