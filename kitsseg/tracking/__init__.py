"""Loggers for training runs: W&B, TensorBoard, MLflow and CSV, and the W&B dashboard of a sweep.

`safe_logger` wraps each logger so that its errors never end a run. `run_content` prepares what all of
them show, and `sweep_end` logs Table 1 and the report when a sweep ends.
"""
