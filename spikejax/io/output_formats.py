"""The formats that `--format` names: of pictures, and of frames that go through a pipe."""

from __future__ import annotations

# Suffixes of pictures.
PICTURE_FORMATS = {"png": ".png", "tiff": ".tiff", "jpeg": ".jpg", "exr": ".exr", "webp": ".webp"}
# Those from which frames can be read as they were, to make a video of them; and those that hold floats.
KEPT_FORMATS = ("png", "tiff")
FLOAT_FORMATS = ("exr", "tiff")
PIPE_FORMATS = ("y4m", "raw")
