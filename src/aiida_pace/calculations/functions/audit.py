"""Calcfunctions about frames drawn at random from the MD: those of the audit are labelled and never trained on."""

from __future__ import annotations

import dataclasses
import typing as t

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_pace.config import AuditConfig
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.frames import AUDIT, Frames
from aiida_pace.metrics.audit import draw_audit
from aiida_pace.metrics.calibration import calibration
from aiida_pace.metrics.errors import estimate_rmse, frame_errors
from aiida_pace.structures.fingerprint import exact_fingerprints

__all__ = ('concatenate_frames', 'draw_frames', 'summarise_audit')

#: Origin of the frames drawn at random that are trained on.
RANDOM = 'random'


@calcfunction
def draw_frames(
    parameters: orm.Dict, training_count: orm.Int, max_atoms: orm.Int, seed: orm.Int, **frames: AtomsDatasetData
) -> dict[str, AtomsDatasetData]:
    """Return the frames of a cycle that are drawn at random, those of the audit first: ``dataset``, if there are any.

    Their origins tell what for: `AUDIT`, or `RANDOM` for those to train on, drawn from the rest.

    :param parameters: settings of ``AuditConfig``.
    :param training_count: number of frames to train on.
    :param max_atoms: frames with more atoms are too dear for DFT, and are not drawn.
    :param frames: ``samples__<walker>``: evenly spaced frames below the halting threshold; ``known__<name>``: frames
        that were labelled before, none of which is drawn.
    """
    config = AuditConfig.model_validate(parameters.get_dict())
    samples = Frames.concatenate([node.frames for key, node in sorted(frames.items()) if key.startswith('samples__')])
    samples = samples.take(np.flatnonzero(samples.sizes <= max_atoms.value))
    known = [node.frames for key, node in frames.items() if key.startswith('known__')]
    exclude = {digest for part in known for digest in exact_fingerprints(part)}
    rng = np.random.default_rng(seed.value)
    parts = []
    for origin, count in ((AUDIT, config.count), (RANDOM, training_count.value)):
        drawn = draw_audit(
            samples,
            count,
            rng,
            exclude=exclude,
            large_atoms=config.large_atoms,
            reserved_share=config.reserved_share,
        )
        if len(drawn):
            part = samples.take(drawn).replace(origin=np.full(len(drawn), origin), grade=None)
            exclude.update(exact_fingerprints(part))
            parts.append(part)
    return {'dataset': AtomsDatasetData(Frames.concatenate(parts))} if parts else {}


@calcfunction
def concatenate_frames(**datasets: AtomsDatasetData) -> AtomsDatasetData:
    """Return the frames of several data sets as one, in the order of their names."""
    return AtomsDatasetData(Frames.concatenate([node.frames for _, node in sorted(datasets.items())]))


@calcfunction
def summarise_audit(
    dataset: AtomsDatasetData, evaluation: orm.ArrayData, parameters: orm.Dict, target: orm.Float
) -> orm.Dict:
    """Return what an audit says of a potential.

    :param dataset: labelled audit frames.
    :param evaluation: of the potential, on these frames, with grades.
    :param parameters: settings of ``AuditConfig``.
    :param target: force RMSE that is wanted, in eV/Å.
    :returns: ``force_rmse`` in eV/Å and ``energy_rmse`` in eV/atom, with confidence intervals; ``calibration``: by
        range of extrapolation grades, how many frames are within the target.
    """
    config = AuditConfig.model_validate(parameters.get_dict())
    frames = dataset.frames.replace(grade=evaluation.get_array('grade'))
    found = frame_errors(frames, evaluation.get_array('energy'), evaluation.get_array('forces'))
    estimates = {
        'force_rmse': estimate_rmse(found.force_rmse, config.confidence),
        'energy_rmse': estimate_rmse(found.energy, config.confidence),
    }
    bins = calibration(frames.max_grade(), found.force_rmse, target.value, confidence=config.confidence)
    return orm.Dict(
        {
            'frames': len(frames),
            **{name: None if value is None else dataclasses.asdict(value) for name, value in estimates.items()},
            'calibration': [_plain(dataclasses.asdict(grades)) for grades in bins if grades.count],
        }
    )


def _plain(values: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return values that JSON can hold: None for infinity."""
    return {key: None if value == float('inf') else value for key, value in values.items()}
