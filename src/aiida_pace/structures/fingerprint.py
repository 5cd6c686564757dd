"""Identity of structures: which frames are the same."""

from __future__ import annotations

import hashlib

import numpy as np

from aiida_pace.frames import Frames

__all__ = ('duplicate_indices', 'exact_fingerprints')

#: Coordinates are compared after rounding to this many digits after the point, in Å.
EXACT_DECIMALS = 6


def exact_fingerprints(frames: Frames) -> list[bytes]:
    """Return one digest per frame; two frames share it when they are the same, atom by atom, to 1e-6 Å.

    Atomic numbers, positions, cell and periodic directions count; labels, grades, weights and origins do not.
    """
    # Adding zero turns the -0.0 that rounding leaves into 0.0.
    positions = np.round(frames.positions, EXACT_DECIMALS) + 0.0
    cells = np.round(frames.cells, EXACT_DECIMALS) + 0.0
    digests = []
    for index in range(len(frames)):
        part = frames.atoms_slice(index)
        digest = hashlib.sha256(frames.numbers[part].tobytes())
        for array in (positions[part], cells[index], frames.pbc[index]):
            digest.update(array.tobytes())
        digests.append(digest.digest())
    return digests


def duplicate_indices(frames: Frames) -> list[int]:
    """Return the indices of frames that repeat an earlier one exactly, in rising order."""
    seen: set[bytes] = set()
    duplicates = []
    for index, digest in enumerate(exact_fingerprints(frames)):
        if digest in seen:
            duplicates.append(index)
        seen.add(digest)
    return duplicates
