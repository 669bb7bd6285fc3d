"""Loggers for training runs: W&B, TensorBoard, MLflow and CSV, and the W&B dashboard of a sweep."""
