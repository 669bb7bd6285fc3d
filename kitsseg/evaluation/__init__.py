"""Metrics of label volumes, without torch: `scores` computes those of a case, `record` writes them."""
