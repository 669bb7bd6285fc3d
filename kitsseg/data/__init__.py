"""Cases, their files, and what networks are trained on.

`io` reads and writes NIfTI and DICOM, `sources` finds or generates cases, `store` holds prepared slices,
and `slices` samples them. The modules here (`case`, `labels`, ...) are shared by these packages.
"""
