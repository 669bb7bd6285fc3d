"""The networks and the CT window: plain modules, tensors in, logits out. They import torch alone.

`unet` holds the U-Net and the attention U-Net, `window` the normalisation of Hounsfield units.
"""
