"""Tests of kitsseg; the folders correspond to the packages."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
