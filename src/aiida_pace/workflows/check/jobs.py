"""Inputs of the jobs of a pre-flight check: those of the campaign, made tiny."""

from __future__ import annotations

import shlex
import typing as t
from collections.abc import Callable, Mapping

from aiida import orm
from aiida.engine import Process
from aiida.plugins import CalculationFactory
from aiida_quantumespresso.workflows.protocols.utils import recursive_merge

from aiida_pace.calculations.active_set import PaceActiveSetCalculation
from aiida_pace.calculations.embed import PaceEmbedCalculation
from aiida_pace.calculations.evaluate import PaceEvaluateCalculation
from aiida_pace.calculations.lammps import PaceLammpsCalculation
from aiida_pace.calculations.select import PaceSelectCalculation
from aiida_pace.calculations.swarm import PaceSwarmCalculation
from aiida_pace.calculations.train import PaceTrainCalculation
from aiida_pace.config import TrainingConfig
from aiida_pace.workflows.check.verdicts import VERSION_FILE

PwCalculation: t.Any = CalculationFactory('quantumespresso.pw')

__all__ = ('JOBS', 'NAMESPACES', 'Inputs', 'job_inputs')

Inputs = Mapping[str, t.Any]

#: By code: where the inputs of its calculation stand among those of a campaign.
NAMESPACES = {
    'pw': 'label.pw',
    'pacemaker': 'train.fit',
    'pace_activeset': 'train.active_set',
    'pace_swarm': 'select.swarm',
    'pace_embed': 'select.embed',
    'pace_select': 'select.select',
    'pace_evaluate': 'select.evaluate',
    'lammps': 'explore.lammps',
}
JOBS: dict[str, type[Process]] = {
    'pw': PwCalculation,
    'pacemaker': PaceTrainCalculation,
    'pace_activeset': PaceActiveSetCalculation,
    'pace_swarm': PaceSwarmCalculation,
    'pace_embed': PaceEmbedCalculation,
    'pace_select': PaceSelectCalculation,
    'pace_evaluate': PaceEvaluateCalculation,
    'lammps': PaceLammpsCalculation,
}

#: A job of the check that takes longer than this, in seconds, is stuck; a short one may slip into a gap of the queue.
WALLTIME = 600

#: One iteration: with this threshold, in Ry, it has converged, so that the output is one of a good run.
ONE_ITERATION = {'CONTROL': {'calculation': 'scf'}, 'ELECTRONS': {'electron_maxstep': 1, 'conv_thr': 1e3}}
#: Beside the campaign's own settings; the basis must have no more functions than the labelled_crystal has atoms.
ONE_STEP = {'functions_per_element': 8, 'max_epochs': 1, 'test_fraction': 0.0, 'weighting': 'uniform'}
LARGEST_ORDER = 2
#: Nothing of a walker but that it walks, with thresholds that no grade reaches: the potential is good for nothing.
TEN_STEPS = {
    'steps': 10,
    'grade_stride': 5,
    'samples': 2,
    'timestep': 0.1,
    'collect_grade': 1e9,
    'halt_grade': 1e10,
}
#: Displaced at random: dynamics and normal modes of a potential that is good for nothing may fail.
TWO_CANDIDATES = {'count': 2, 'shares': {'rattle': 1.0}}


def job_inputs(name: str, given: Inputs, made: Inputs) -> dict[str, t.Any]:
    """Return the inputs of the job of the code ``name``.

    The cache is not asked: its answer would be that of another day.

    :param given: what the campaign gives to this calculation.
    :param made: the nodes made for the check: ``training``, ``pool``, ``structure``, ``cell``, ``potential``,
        ``active_set``.
    """
    inputs = {**given, **FITTED[name](given, made)}
    metadata = inputs.get('metadata', {})
    options = {**metadata.get('options', {}), **inputs.pop('extra_options', {})}
    if 'max_wallclock_seconds' in options:
        options['max_wallclock_seconds'] = min(options['max_wallclock_seconds'], WALLTIME)
    return {**inputs, 'metadata': {**metadata, 'options': options, 'disable_cache': True}}


def _pw(given: Inputs, made: Inputs) -> dict[str, t.Any]:
    kpoints = orm.KpointsData()
    kpoints.set_kpoints_mesh([1, 1, 1])
    return {
        'structure': made['cell'],
        'kpoints': kpoints,
        'parameters': orm.Dict(recursive_merge(given['parameters'].get_dict(), ONE_ITERATION)),
        'pseudos': {kind.name: given['pseudos'][kind.symbol] for kind in made['cell'].kinds},
    }


def _pacemaker(given: Inputs, made: Inputs) -> dict[str, t.Any]:
    config = TrainingConfig.model_validate(given['parameters'].get_dict())
    dataset = made['training']
    changed = {
        **ONE_STEP,
        'order': min(config.order, LARGEST_ORDER),
        'reference_energies': dict.fromkeys(dataset.elements, 0.0),
    }
    parameters = {**config.model_dump(), **changed}
    return {'datasets': {'check': dataset}, 'parameters': orm.Dict(parameters)}


def _active_set(_: Inputs, made: Inputs) -> dict[str, t.Any]:
    return {'datasets': {'check': made['training']}, 'potential': made['potential']}


def _graded(given: Inputs, made: Inputs) -> dict[str, t.Any]:
    """Return what our engines on frames take; have them asked for their version, which they do not tell."""
    code = given['code']
    inputs = {'dataset': made['pool'], 'potential': made['potential'], 'active_set': made['active_set']}
    if isinstance(code, orm.InstalledCode) and not isinstance(code, orm.ContainerizedCode):
        ask = f'{shlex.quote(str(code.filepath_executable))} --version > {VERSION_FILE} 2>&1'
        before = given.get('metadata', {}).get('options', {}).get('append_text', '')
        inputs['extra_options'] = {
            'append_text': f'{before}\n{ask}'.strip(),
            'additional_retrieve_list': [VERSION_FILE],
        }
    return inputs


def _swarm(given: Inputs, made: Inputs) -> dict[str, t.Any]:
    parameters = {**given['parameters'].get_dict(), **TWO_CANDIDATES}
    return {**_graded(given, made), 'parameters': orm.Dict(parameters), 'seed': orm.Int(1)}


def _embed(given: Inputs, made: Inputs) -> dict[str, t.Any]:
    parameters = {**given['parameters'].get_dict(), 'max_dft_atoms': made['pool'].atoms_count}
    return {**_graded(given, made), 'parameters': orm.Dict(parameters)}


def _select(given: Inputs, made: Inputs) -> dict[str, t.Any]:
    return {**_graded(given, made), 'max_frames': orm.Int(1)}


def _lammps(given: Inputs, made: Inputs) -> dict[str, t.Any]:
    parameters = {**given['parameters'].get_dict(), **TEN_STEPS}
    parameters.pop('collect_stride', None)
    return {
        'structure': made['structure'],
        'potential': made['potential'],
        'active_set': made['active_set'],
        'parameters': orm.Dict(parameters),
        'seed': orm.Int(1),
    }


FITTED: dict[str, Callable[[Inputs, Inputs], dict[str, t.Any]]] = {
    'pw': _pw,
    'pacemaker': _pacemaker,
    'pace_activeset': _active_set,
    'pace_swarm': _swarm,
    'pace_embed': _embed,
    'pace_select': _select,
    'pace_evaluate': _graded,
    'lammps': _lammps,
}
