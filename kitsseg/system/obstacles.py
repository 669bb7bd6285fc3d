"""Whether a file is there, and what stands where it should be."""

import errno
import os
import stat
from pathlib import Path


def is_there(path: Path) -> bool:
    """Whether ``path`` is a file. Where nobody may look there is none: `Path.is_file` would raise."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def obstacle(path: Path) -> str | None:
    """What keeps a file from being at ``path``, and the remedy; None if it is there or merely missing.

    The text goes on from the file's name.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return _behind(path, error)
    if stat.S_ISREG(mode):
        return None
    kind = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
    return f"is {kind}, not a file; move it away"


def _behind(path: Path, error: OSError) -> str | None:
    """Why a path can't be followed to its end."""
    for place, what in ((path, "is"), (path.parent, "its folder is")):
        if error.errno in (errno.ENOENT, errno.ELOOP) and os.path.islink(place) and not place.exists():
            where = "leads back to itself" if error.errno == errno.ELOOP else "isn't there"
            return f"{what} a link to {os.readlink(place)}, which {where}; mend or remove the link"
    if error.errno == errno.ENOENT:
        return None
    if error.errno == errno.ENOTDIR:
        return "its folder is a file; move that away"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"can't be looked at ({error.strerror}); chmod u+rwx {path.parent}, or ask its owner"
    return f"can't be looked at ({error.strerror})"
