"""Fine-tuning of backbones, and training of networks from scratch, on the images of a cache.

`options` has the command line, `data` the images and labels, `augment` the study's augmentation, `encoders` the
backbones, `models` and `scratch` the networks, `methods` what of them is trained and how it is saved, `train` the
training, and `records` what `probe score` measures and records. `process` is what several processes do together.
"""
