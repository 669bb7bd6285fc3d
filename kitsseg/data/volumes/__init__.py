"""Volumes for 3D networks: planning (`plan`) and patches (`dataset`, `datamodule`)."""
