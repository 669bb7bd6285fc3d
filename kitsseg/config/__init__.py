"""From a command line to checked settings. Besides `kitsseg.jobs`, only this package imports Hydra.

`command_line` runs a command, `overrides` composes each of its jobs, and `validation` checks a composed
configuration against its schema and against the signatures of the classes that ``_target_`` names.
"""
