"""From a checkpoint or an ONNX file and a CT volume to a label volume.

`segmenter` is the public interface, `checkpoint` and `export_formats` read and write networks, and
`slicewise` computes probabilities on the grid of a case. `record` writes predictions.
"""
