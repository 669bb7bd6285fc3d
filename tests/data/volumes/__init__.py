"""Tests of `kitsseg.data.volumes`."""
