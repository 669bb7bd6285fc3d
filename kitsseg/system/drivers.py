"""Whether this machine has a GPU to compute on, told at once: asking torch means importing it."""

import os
import sys

# One of these is there if a driver is: NVIDIA's, Windows's for its Linux, AMD's.
FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")


def there() -> bool:
    """Whether one of `FILES` is there; elsewhere than on Linux they have other names: perhaps."""
    return sys.platform != "linux" or any(map(os.path.exists, FILES))
