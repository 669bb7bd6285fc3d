"""Imported by the server that loaders' processes are forks of, before it forks any."""

import warnings

import kitsseg.data.slices.loader  # noqa: F401

# multiprocessing has each fork run the command's module, which it has imported already, and says so.
warnings.filterwarnings("ignore", ".*found in sys.modules after import of package.*", RuntimeWarning)
