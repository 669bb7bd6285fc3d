"""Build the report as a single HTML page that works offline.

`page` assembles the sections. `plots` and `svg` draw, `slices` encodes images, and `findings` writes the
summary sentences.
"""
