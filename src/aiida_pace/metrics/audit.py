"""The audit sample: which frames are drawn, and which may speak for a potential."""

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
    """Return the indices of the audit frames, in rising order: fewer than ``count`` when there are not as many.

    There are two strata, small and large cells. Each gets the larger of its reserved share and what is left in
    proportion to its frames; within it every frame has the same chance, and the draw is systematic with a random start
    (Cochran, Sampling Techniques (1977), chapter 8): spread evenly over the frames as they are ordered, so that walkers
    and times are all heard. With a reserved share above its share of the frames a stratum counts for more: the audit
    speaks of the mixture that was drawn.

    Draw before candidates for training are chosen, and keep the drawn frames from them: what a choice by grade leaves
    over is no fair sample.

    :param frames: of all the MD below the halt threshold, at even spacing in time, walker after walker.
    :param exclude: `exact_fingerprints` of frames that must not be drawn, such as those trained on or drawn before.
    :param large_atoms: cells of this many atoms or more are large.
    :param reserved_share: share of the audit that each stratum gets at least, rounded up, if it has so many frames.
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
    # Rounded at random, so that a few large cells among many small ones have their fair chance.
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
    """(n,) Whether each audit frame of the campaign may speak for the current potential at the current stage.

    ``potential``: frames of the MD that this potential itself made at this stage, in any cycle. Unbiased: they are a
    sample of just what the potential is used for. Few, unless it stays the same, as it does while walkers are quiet.

    ``stage``: all frames of this stage, evaluated anew with the current potential; none was trained on. More frames,
    but part of them from places where an earlier, poorer potential led its walkers: mostly stranger ones, so the error
    is rather too high than too low; and as the same frames are looked at in every cycle, luck with them lasts.

    :param potentials: (n,) the potential that made the MD of each frame, by any name.
    :param stages: (n,) the stage of that MD.
    """
    mask = np.asarray(stages, dtype='i8') == stage
    if pooling == 'potential':
        mask &= np.asarray(potentials, dtype='U') == potential
    return np.asarray(mask)
