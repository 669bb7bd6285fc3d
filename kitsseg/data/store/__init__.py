"""Prepared cases: checked once (`prepare`), memory-mapped (`store`, `grid`), described (`data_card`)."""
