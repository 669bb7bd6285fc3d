"""NIfTI files: `read` images and labels in bounded memory, `write` volumes.

`stream` decompresses, `header` describes a volume, and `voxels` converts what is stored.
"""
