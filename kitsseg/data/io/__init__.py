"""Reading, checking and writing of NIfTI and DICOM.

`scans.read_scan` reads a scan of either format, `nifti` the images and labels of a case. `write` and
`dicom_seg` write label volumes.
"""
