"""How a process that trains on a processor gets its memory."""

import os
import sys
from contextlib import suppress

from kitsseg.system import drivers, invoked

VARIABLE = "GLIBC_TUNABLES"
# The C library would give a large tensor's memory back to the kernel with each step and get it again,
# zeroed, page by page. Kept, and in pages of 2 MB where the kernel has them, a step takes about a tenth
# less time (benchmarks/memory.py).
TUNABLES = {
    "hugetlb": 1,
    "mmap_max": 0,
    "trim_threshold": 1 << 40,
    "top_pad": 1 << 28,
}


def settle() -> None:
    """Begin anew with `TUNABLES` if ``python -m kitsseg.train`` has just begun without them.

    glibc reads them from the environment, and only as a process begins. A user's own stay, an empty one
    too, and so does all else where there are GPUs, whose work doesn't lie in this memory.
    """
    if invoked.command() != "kitsseg.train" or VARIABLE in os.environ or sys.platform != "linux":
        return
    if drivers.there():
        return
    with suppress(OSError):  # then it goes on as it is
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, VARIABLE: told()})


def told() -> str:
    """`TUNABLES` as glibc wants them told."""
    return ":".join(f"glibc.malloc.{name}={value}" for name, value in TUNABLES.items())
