"""What makes a command begin sooner."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Around imports: nearly all that they make stays, and looking for garbage among it takes a second.

    What there is at the end, later collections pass over.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
