"""Whether a file exists, and what else is in its place."""

import errno
import os
import stat
from pathlib import Path


def is_file(path: Path) -> bool:
    """Whether ``path`` is a file; false where it cannot be accessed (`Path.is_file` would raise)."""
    return os.path.isfile(path)


def obstacle(path: Path) -> str | None:
    """Return what prevents a file at ``path``, such as a folder, and the remedy; None if nothing."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return _explain(path, error)
    if stat.S_ISREG(mode):
        return None
    kind = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
    return f"is {kind}, not a file; move it away"


def _explain(path: Path, error: OSError) -> str | None:
    for place, subject in ((path, "is"), (path.parent, "its folder is")):
        if error.errno in (errno.ENOENT, errno.ELOOP) and os.path.islink(place) and not place.exists():
            state = "points back to itself" if error.errno == errno.ELOOP else "does not exist"
            return f"{subject} a link to {os.readlink(place)}, which {state}; repair or remove the link"
    if error.errno == errno.ENOENT:
        return None
    if error.errno == errno.ENOTDIR:
        return "its folder is a file; move it away"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"cannot be accessed ({error.strerror}); chmod u+rwx {path.parent}, or ask its owner"
    return f"cannot be accessed ({error.strerror})"
