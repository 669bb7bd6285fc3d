"""Class ids of KiTS19 and the regions that are evaluated.

In the official script (neheller/kits19, ``starter_code/evaluation.py``), *kidney* includes the tumour.
Many papers evaluate label 1 alone as kidney; ``kidney_label`` is that region.
"""

BACKGROUND, KIDNEY, TUMOUR = 0, 1, 2
CLASSES = ("background", "kidney", "tumour")

# Region name -> its class ids. The order is used by all tables and count tensors.
REGIONS: dict[str, tuple[int, ...]] = {
    "kidney": (KIDNEY, TUMOUR),
    "tumour": (TUMOUR,),
    "kidney_label": (KIDNEY,),
}
OFFICIAL = ("kidney", "tumour")

AIR_HU = -1024
