"""Metrics of label volumes, without torch.

`scores` computes all metrics of a case from `metrics`, `surface` and `lesions`. `cases` pairs
predictions with the ground truth, `record` writes the results, `stats` computes intervals and tests, and
`postprocess` cleans label volumes.
"""
