"""Cases: reading and writing files, sources, the store of prepared cases, splits, training slices."""
