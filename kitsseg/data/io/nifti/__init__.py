"""NIfTI files: `stream` decompresses, `header` describes, `voxels` converts; `read` and `write`."""
