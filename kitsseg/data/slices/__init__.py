"""Training and validation slices for 2D and 2.5D networks.

`sampling` chooses the slices of an epoch, `augment` and `patch` augment them, `dataset` reads them from
the store, and `datamodule.SliceDataModule` puts these together for Lightning.
"""
