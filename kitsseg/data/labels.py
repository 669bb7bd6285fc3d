"""Class ids of KiTS19 and the regions that are scored.

The official script (neheller/kits19, ``starter_code/evaluation.py``) calls *kidney* every voxel with
a label above 0 (the tumour included) and *tumour* every voxel with a label above 1. Many papers score
the kidney's own label instead, so that figure is kept beside the official two.
"""

BACKGROUND, KIDNEY, TUMOUR = 0, 1, 2
CLASSES = ("background", "kidney", "tumour")

# Region name -> the class ids it is made of. The order is that of every table and tensor of counts.
REGIONS: dict[str, tuple[int, ...]] = {
    "kidney": (KIDNEY, TUMOUR),
    "tumour": (TUMOUR,),
    "kidney_label": (KIDNEY,),
}
OFFICIAL = ("kidney", "tumour")

AIR_HU = -1024
