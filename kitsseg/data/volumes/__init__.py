"""Volumes for 3D networks: resampling (`grid`), planning (`plan`), patches (`dataset`, `datamodule`)."""
