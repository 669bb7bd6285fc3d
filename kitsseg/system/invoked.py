"""How this process was started."""

import sys


def command() -> str:
    """``kitsseg.train`` if ``python -m kitsseg.train`` is about to import it; else, or later, empty."""
    # Python says -m while it looks for the module, that is, while it imports the package.
    return named() if sys.argv[:1] == ["-m"] else ""


def named() -> str:
    """What of ours is run as a module; empty if it is someone else's."""
    given = zip(sys.orig_argv, sys.orig_argv[1:], strict=False)
    return next((name for flag, name in given if flag == "-m" and name.startswith("kitsseg.")), "")
