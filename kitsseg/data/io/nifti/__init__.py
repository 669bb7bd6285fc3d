"""Reading (`stream`, `header`, `voxels`, `read`) and writing (`write`) of NIfTI files."""
