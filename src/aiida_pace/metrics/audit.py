"""The audit sample: which frames are drawn, and which count for a potential."""

from __future__ import annotations

import typing as t
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from aiida_pace.frames import Frames
from aiida_pace.structures.fingerprint import exact_fingerprints

__all__ = ('audits_of_potential', 'draw_audit')


def draw_audit(
    frames: Frames,
    count: int,
    rng: np.random.Generator,
    *,
    exclude: Collection[bytes] = (),
    large_atoms: int = 32,
    reserved_share: float = 0.2,
) -> npt.NDArray[np.int64]:
    """Return the indices of the audit frames, in rising order: fewer than ``count`` when there are not enough frames.

    There are two strata, small and large cells. Each gets a part in proportion to its frames, but at least its reserved
    share. Within a stratum every frame has the same chance, and the draw is systematic with a random start (Cochran,
    Sampling Techniques (1977), chapter 8): spread evenly over the order of the frames, and so over walkers and times. A
    stratum whose reserved share is above its share of the frames has more weight: the audit error is that of the drawn
    mixture.

    Draw before candidates for training are chosen, and exclude the drawn frames from the candidates: the rest of a
    choice by grade is a biased sample.

    :param frames: of all the MD below the halt threshold, at even spacing in time, walker after walker.
    :param exclude: `exact_fingerprints` of frames that must not be drawn, such as those trained on or drawn before.
    :param large_atoms: cells with at least this many atoms count as large.
    :param reserved_share: least share of each stratum in the audit, rounded up, if it has so many frames.
    """
    seen = set(exclude)
    allowed = np.zeros(len(frames), dtype=bool)
    for index, fingerprint in enumerate(exact_fingerprints(frames)):
        allowed[index] = fingerprint not in seen
        seen.add(fingerprint)
    strata = [np.flatnonzero(allowed & (is_large == (frames.sizes >= large_atoms))) for is_large in (False, True)]
    small, large = (len(stratum) for stratum in strata)
    count = min(count, small + large)
    if count < 1:
        return np.zeros(0, dtype='i8')
    reserved = min(int(np.ceil(round(reserved_share * count, 9))), count // 2)
    # Rounded at random, so that a few large cells among many small ones have the right probability.
    fair = int(count * large / (small + large) + rng.random())
    lowest = max(min(reserved, large), count - small)
    highest = min(count - min(reserved, small), large)
    of_large = min(max(fair, lowest), highest)
    drawn = [_systematic(stratum, k, rng) for stratum, k in zip(strata, (count - of_large, of_large), strict=True)]
    return np.asarray(np.sort(np.concatenate(drawn)), dtype='i8')


def _systematic(indices: npt.NDArray[np.int64], count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return ``count`` of the indices at even spacing; each has the same chance."""
    if count == 0:
        return np.zeros(0, dtype='i8')
    places = np.floor((rng.random() + np.arange(count)) * (len(indices) / count)).astype('i8')
    return np.asarray(indices[np.minimum(places, len(indices) - 1)])


def audits_of_potential(
    potentials: Sequence[str],
    stages: Sequence[int],
    potential: str,
    stage: int,
    pooling: t.Literal['potential', 'stage'],
) -> npt.NDArray[np.bool_]:
    """Return the mask (n,) of the audit frames of the campaign that count for the current potential and stage.

    ``potential``: frames of the MD that the potential itself made at this stage, in any cycle. They are an unbiased
    sample of the use of the potential, but few, unless the potential stays the same, as it does without new labels.

    ``stage``: all frames of this stage, evaluated with the current potential, which was trained on none of them. There
    are more frames, but some come from MD with an earlier, poorer potential. These are mostly more unusual, so the
    error is too high rather than too low. The same frames count in every cycle, so a lucky sample stays lucky.

    :param potentials: (n,) the potential that made the MD of each frame, by any name.
    :param stages: (n,) the stage of that MD.
    """
    mask = np.asarray(stages, dtype='i8') == stage
    if pooling == 'potential':
        mask &= np.asarray(potentials, dtype='U') == potential
    return np.asarray(mask)
