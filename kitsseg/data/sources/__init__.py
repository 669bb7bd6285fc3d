"""Sources of cases: folders of KiTS and nnU-Net, tables, phantoms; downloads and clinical data."""
