"""Synthetic abdominal CTs with labelled kidneys and tumours.

`phantom` writes the data set, `anatomy` renders one volume, and `patient` draws its random parameters.
"""
