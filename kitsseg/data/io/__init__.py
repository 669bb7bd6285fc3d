"""Reading, checking and writing of NIfTI and DICOM.

`read_scan` turns a file into a checked volume in HU, for all commands. `find_images` searches for scans,
`nifti` and `dicom` know the formats, and `dicom_seg` writes segmentation objects.
"""
