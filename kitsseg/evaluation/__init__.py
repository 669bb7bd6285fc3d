"""Metrics of label volumes, without torch. `scores` computes them for a case, `record` writes them."""
