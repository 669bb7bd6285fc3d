"""Tests of kitsseg; the folders mirror the packages."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
