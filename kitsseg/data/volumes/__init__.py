"""Volumes for 3D networks: planning (`patch_plan`) and patches (`dataset`, `datamodule`)."""
