"""Prepared cases: checked once, written as memory-mapped arrays, and opened for training.

`prepare` writes the cases, `store` opens them, `grid` maps between native and stored slices. `data_card`
and `contact_sheet` describe a store.
"""
