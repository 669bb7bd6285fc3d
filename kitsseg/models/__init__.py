"""Networks and HU normalisation as plain `torch.nn.Module` classes. This package imports only torch.

`unet` contains the U-Net and the attention U-Net, `window` the normalisation of Hounsfield units.
"""
