"""Sources of cases: folders in KiTS19's layout with their clinical data, downloads, and phantoms."""
