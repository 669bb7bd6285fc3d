"""Training of a run: the Lightning task, losses, schedules, fine-tuning and the final evaluation.

`task.SegmentationTask` is the LightningModule, `stage` fits it and resumes it, and
`final_evaluation` computes the metrics of the trained network. This package does not import Hydra.
"""
