"""What the models compute in bulk, written as slow loops over single numbers (NumPy, the dtype of the input)."""

import math
from typing import Literal

import numpy as np


def pixel(image: np.ndarray, row: int, column: int) -> np.ndarray:
    """One pixel [c] of an image [h, w, c], zero outside."""
    height, width, channels = image.shape
    inside = 0 <= row < height and 0 <= column < width
    return image[row, column] if inside else np.zeros(channels, image.dtype)


def bilinear(image: np.ndarray, column: float, row: float) -> np.ndarray:
    """One sample [c] of an image [h, w, c], neighbours outside counting zero."""
    left, top = math.floor(column), math.floor(row)
    right, down = column - left, row - top
    return (
        pixel(image, top, left) * (1 - right) * (1 - down)
        + pixel(image, top, left + 1) * right * (1 - down)
        + pixel(image, top + 1, left) * (1 - right) * down
        + pixel(image, top + 1, left + 1) * right * down
    )


def warp(image: np.ndarray, flow: np.ndarray, padding: Literal["zeros", "border"] = "zeros") -> np.ndarray:
    """Images [n, h, w, c] sampled where flow [n, h, w, 2] = (dx, dy) points to."""
    warped = np.zeros_like(image)
    count, height, width, _ = image.shape
    for n, row, column in np.ndindex(count, height, width):
        x, y = column + flow[n, row, column, 0], row + flow[n, row, column, 1]
        if padding == "border":
            x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
        warped[n, row, column] = bilinear(image[n], x, y)
    return warped


def nearest4(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """The four integer neighbours of where flow points to, as four images on the channel axis."""
    count, height, width, channels = image.shape
    warped = np.zeros((count, height, width, 4 * channels), image.dtype)
    for n, row, column in np.ndindex(count, height, width):
        x, y = column + flow[n, row, column, 0], row + flow[n, row, column, 1]
        corners = [(to_x(x), to_y(y)) for to_x in (math.floor, math.ceil) for to_y in (math.floor, math.ceil)]
        warped[n, row, column] = np.concatenate([pixel(image[n], y, x) for x, y in corners])
    return warped


def resize(image: np.ndarray, height: int, width: int, *, align_corners: bool) -> np.ndarray:
    """Images [n, h, w, c] at another size, every new pixel sampled by itself, clamped at the edge."""
    count, rows, columns, channels = image.shape
    resized = np.zeros((count, height, width, channels), image.dtype)

    def position(index: int, size: int, source: int) -> float:
        if align_corners:
            return index * (source - 1) / (size - 1) if size > 1 else 0.0
        return min(max((index + 0.5) * source / size - 0.5, 0), source - 1)

    for n, row, column in np.ndindex(count, height, width):
        x, y = position(column, width, columns), position(row, height, rows)
        resized[n, row, column] = bilinear(image[n], x, y)
    return resized


def deformable_convolution(
    sources: np.ndarray, position: np.ndarray, mask: np.ndarray, kernel: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """The modulated deformable 3x3 convolution, a sum over taps and groups for every pixel.

    Args:
        sources: [n, k, h, w, c].
        position: (column, row), [n, h, w, 9, g, 2], of the taps of every group.
        mask: [n, h, w, 9, g].
        kernel: [3, 3, c, c]; the k-th block of its outputs is source k's.
        bias: [c].
    """
    count, k, height, width, channels = sources.shape
    groups = position.shape[4]
    # Channels of all sources, in order, over all groups, in order.
    width_of_group = k * channels // groups
    block = channels // k
    result = np.zeros((count, height, width, channels), sources.dtype)
    for n, row, column, tap, group in np.ndindex(count, height, width, 9, groups):
        source, first = divmod(group * width_of_group, channels)
        of_group = slice(first, first + width_of_group)
        sample = bilinear(sources[n, source, :, :, of_group], *position[n, row, column, tap, group])
        outputs = slice(source * block, (source + 1) * block)
        weight = kernel[tap // 3, tap % 3, of_group, outputs]
        result[n, row, column, outputs] += mask[n, row, column, tap, group] * sample @ weight
    return result + bias


def convolution(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The cross-correlation of images [n, h, w, i] with a kernel [k, k, i, o], zero-padded to the same size."""
    count, height, width, _ = x.shape
    size = kernel.shape[0]
    result = np.zeros((count, height, width, kernel.shape[-1]), x.dtype)
    for n, row, column, down, right in np.ndindex(count, height, width, size, size):
        under_tap = pixel(x[n], row + down - size // 2, column + right - size // 2)
        result[n, row, column] += under_tap @ kernel[down, right]
    return result + bias


def softmax(x: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    weights = np.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def gelu(x: np.ndarray) -> np.ndarray:
    """The exact one."""
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def layer_norm(x: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Over the last axis, eps 1e-5."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * scale + bias
