"""Data: spike streams, simulated scenes, folders on disk and the batches made from them.

Knows neither models nor training. Pictures here are display-referred uint8 or float32 in [0, 1], channels-last RGB,
unless a name says `linear`.
"""
