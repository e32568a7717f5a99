"""The order in which hidden units of a token-mixing MLP are shown: MLP-Mixer, figure 5.

Low frequencies come first, and each unit is followed by the one closest to its inverse.

Shapes: U units, G patches a side.
"""

import numpy as np


def mean_frequency(units: np.ndarray) -> np.ndarray:
    """The mean frequency [U] of images [U, G, G], weighed by power, in cycles a patch."""
    power = np.abs(np.fft.fft2(units)) ** 2  # [U, G, G]
    cycles = np.fft.fftfreq(units.shape[-1])
    radius = np.hypot(cycles[:, None], cycles[None, :])
    total = power.sum((1, 2))
    return (power * radius).sum((1, 2)) / np.where(total > 0, total, 1)


def in_pairs(units: np.ndarray) -> np.ndarray:
    """The indices [U] of images [U, G, G] in the order of showing: pairs of opposite phase.

    The unit of the lowest frequency that is left comes first, then, of all that are left, the one
    whose correlation with it is the most negative. An odd one comes last.
    """
    flat = units.reshape(len(units), -1)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    directions = flat / np.where(norms > 0, norms, 1)
    left = list(np.argsort(mean_frequency(units), kind="stable"))
    order = []
    while left:
        unit = left.pop(0)
        order.append(unit)
        if left:
            partner = int(np.argmin(directions[left] @ directions[unit]))
            order.append(left.pop(partner))
    return np.array(order)
