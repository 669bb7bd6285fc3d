"""Compose and check the configuration of a command. Only this package and `kitsseg.jobs` import Hydra.

`command_line` runs a command, `overrides` composes the configuration of each job, and `validation`
checks it against its schema and against the signatures of the classes that ``_target_`` names.
"""
