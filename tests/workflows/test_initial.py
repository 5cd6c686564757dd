"""The initial set as a work chain, with the real engines."""

from __future__ import annotations

import json
import subprocess
import typing as t
from collections.abc import Callable
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import WorkflowFactory
from ase import Atoms
from ase.build import bulk

from aiida_pace.structures.fingerprint import near_duplicate_indices
from aiida_pace.structures.guards import check_frames
from aiida_pace.structures.initial import atoms_per_element, recipe_counts
from aiida_pace.workflows.graph import children

InitialSetWorkChain = WorkflowFactory('pace.initial')
Inputs = dict[str, t.Any]

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')

#: Prints the highest grade in the pool when the set is all that is known.
HIGHEST_GRADE = """
import json, sys
from aiida_pace.frames import Frames
from pyace.activelearning import (
    compute_A_active_inverse, compute_active_set, compute_B_projections, compute_extrapolation_grade
)
from pyace.basis import ACEBBasisSet

basis = ACEBBasisSet('basis.yaml')
pool, chosen = (compute_B_projections(basis, list(Frames.load(name))) for name in ('pool.npz', sys.argv[1]))
grades = compute_extrapolation_grade(pool, compute_A_active_inverse(compute_active_set(chosen, tol=1.01)))
print(json.dumps(max(float(values.max()) for values in grades.values())))
"""


@pytest.fixture
def inputs(pace_code: Callable[[str, str], orm.InstalledCode]) -> Inputs:
    return {
        'elements': orm.List(['Si']),
        'count': orm.Int(20),
        'parameters': orm.Dict({'pool_count': 60}),
        'basis': {
            'code': pace_code('pace.train', 'pace-fit-linear'),
            'parameters': orm.Dict({'evaluator': 'linear', 'functions_per_element': 40, 'cutoff': 4.5}),
        },
        'maxvol': {'code': pace_code('pace.select', 'pace-select')},
    }


@pytest.mark.engines
def test_silicon(inputs: Inputs, engine: Callable[[str], Path], tmp_path: Path) -> None:
    """The set knows the pool better than one of the same size that is picked at random."""
    results, node = run_get_node(InitialSetWorkChain, **inputs)
    assert node.is_finished_ok, node.exit_message
    frames, account = results['dataset'].frames, results['output_parameters'].get_dict()
    assert len(frames) == 20
    assert account['kept'] == recipe_counts(frames)
    assert account['kept']['isolated_atom'] == 1
    assert {'dimer', 'trimer', 'bulk'} <= set(account['kept'])
    assert sum(account['pool'].values()) + sum(account['duplicates'].values()) == 60 + sum(
        account['kept'][recipe] for recipe in ('isolated_atom', 'dimer', 'trimer')
    )
    assert account['selected'] > 10
    assert account['atoms'] == atoms_per_element(frames)
    assert near_duplicate_indices(frames, 0.02) == []

    plain = {**inputs, 'parameters': orm.Dict({**inputs['parameters'], 'selection': 'random'})}
    random, other = run_get_node(InitialSetWorkChain, **plain)
    assert other.is_finished_ok, other.exit_message
    assert random['output_parameters']['selected'] == 0
    assert set(children(other)) == {'make_pool', 'choose'}

    steps = children(node)
    steps['make_pool'].outputs.pool.frames.save(tmp_path / 'pool.npz')
    (tmp_path / 'basis.yaml').write_bytes(steps['basis'].outputs.basis.get_yaml())
    grades = []
    for name, dataset in (('d_optimal', results['dataset']), ('random', random['dataset'])):
        dataset.frames.save(tmp_path / f'{name}.npz')
        command = [engine('python'), '-c', HIGHEST_GRADE, f'{name}.npz']
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120)
        grades.append(json.loads(done.stdout.splitlines()[-1]))
    assert grades[0] < 0.5 * grades[1], grades


@pytest.mark.engines
def test_aluminium_and_silicon(inputs: Inputs) -> None:
    """Two elements, and a structure of the user."""
    structure = orm.StructureData(ase=bulk('Al', a=4.2, cubic=True))
    inputs |= {
        'elements': orm.List(['Si', 'Al']),
        'count': orm.Int(40),
        'parameters': orm.Dict({'pool_count': 80}),
        'structures': {'mine': structure},
    }
    inputs['basis']['parameters'] = orm.Dict({'evaluator': 'linear', 'functions_per_element': 40})
    results, node = run_get_node(InitialSetWorkChain, **inputs)
    assert node.is_finished_ok, node.exit_message
    frames, account = results['dataset'].frames, results['output_parameters']
    assert len(frames) == 40
    assert account['kept']['isolated_atom'] == 2
    assert {'user', 'alloy', 'compound'} <= set(account['pool'])
    assert all(account['atoms'][element] > 40 for element in ('Al', 'Si'))
    assert all(name.partition('/')[0] in account['pool'] for name in frames.origin)


@pytest.mark.engines
@pytest.mark.parametrize(('step', 'error'), [('basis', 'ERROR_BASIS_FAILED'), ('maxvol', 'ERROR_SELECTION_FAILED')])
def test_the_step_that_failed_is_named(
    inputs: Inputs, aiida_code_installed: Callable[..., orm.InstalledCode], step: str, error: str
) -> None:
    plugin = {'basis': 'pace.train', 'maxvol': 'pace.select'}[step]
    inputs[step]['code'] = aiida_code_installed(
        label='broken', default_calc_job_plugin=plugin, filepath_executable='/bin/false'
    )
    _, node = run_get_node(InitialSetWorkChain, **inputs)
    assert node.exit_status == InitialSetWorkChain.exit_codes[error].status
    assert 'last output was' in node.exit_message


def without_engines(inputs: Inputs, **parameters: object) -> Inputs:
    """Return inputs of a random pick, without codes."""
    settings = {**inputs['parameters'], 'selection': 'random', **parameters}
    return {
        **inputs,
        'parameters': orm.Dict(settings),
        'basis': {'parameters': inputs['basis']['parameters']},
        'maxvol': {},
    }


def test_a_set_that_is_too_small_for_the_basis_is_handed_over(inputs: Inputs) -> None:
    """The fit takes a smaller basis, until there are more labels."""
    inputs = without_engines(inputs)
    inputs['count'] = orm.Int(4)
    results, node = run_get_node(InitialSetWorkChain, **inputs)
    assert node.is_finished_ok, node.exit_message
    assert results['dataset'].count == 4


def test_dimers_reach_to_the_cutoff_of_the_fit_and_nothing_is_closer_than_asked_for(inputs: Inputs) -> None:
    inputs = without_engines(inputs, shares={'dimer': 1, 'bulk': 1})
    inputs |= {'closest': orm.Float(0.95), 'count': orm.Int(40)}
    inputs['basis']['parameters'] = orm.Dict({'cutoff': 6.5})
    results, node = run_get_node(InitialSetWorkChain, **inputs)
    assert node.is_finished_ok, node.exit_message
    frames = results['dataset'].frames
    dimers = frames.take([index for index, origin in enumerate(frames.origin) if origin == 'dimer'])
    lengths = [atoms.get_distance(0, 1) for atoms in dimers]
    assert 6.0 < max(lengths) <= 6.5
    assert min(lengths) >= 0.95 * 2 * 1.11
    assert check_frames(frames, closest=0.95).mask.all()
    assert not check_frames(frames, closest=1.0).mask.all()


def test_a_pool_that_is_too_small_for_the_basis(inputs: Inputs) -> None:
    """Nothing is run for it."""
    inputs['basis']['parameters'] = orm.Dict({'functions_per_element': 2000})
    _, node = run_get_node(InitialSetWorkChain, **inputs)
    assert node.exit_status == InitialSetWorkChain.exit_codes.ERROR_ATOMS_INSUFFICIENT.status
    assert 'the pool holds' in node.exit_message
    assert set(children(node)) == {'make_pool'}


def test_settings_without_room(inputs: Inputs) -> None:
    still = {'displacement': 0, 'strain': 0, 'volumes': (1, 1), 'shares': {'bulk': 1}, 'pool_count': 500}
    inputs = without_engines(inputs, **still)
    inputs['count'] = orm.Int(400)
    _, node = run_get_node(InitialSetWorkChain, **inputs)
    assert node.exit_status == InitialSetWorkChain.exit_codes.ERROR_POOL_INSUFFICIENT.status
    assert '`count` asks for 400' in node.exit_message


def test_a_length_that_is_a_guess_is_reported(inputs: Inputs) -> None:
    inputs = without_engines(inputs) | {'elements': orm.List(['B'])}
    with pytest.warns(UserWarning, match='an estimate'):
        _, node = run_get_node(InitialSetWorkChain, **inputs)
    messages = [log.message for log in orm.Log.collection.get_logs_for(node)]
    assert any('an estimate' in message and '`lattice_constants`' in message for message in messages)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'elements': ['Xy']}, '`elements` is .*give chemical symbols'),
        ({'elements': ['Cf']}, '`elements`: the covalent radius .* is not known; leave it out'),
        ({'count': 1}, '`count` is 1: give more frames than there are elements'),
        ({'count': 61}, '`count` is 61, the pool has 60: raise `pool_count`'),
        ({'parameters': {'shares': {'alloy': 1}}}, 'no recipe with a share above 0 applies'),
        ({'parameters': {'selection': 'best'}}, '`parameters`: setting `selection`'),
        ({'parameters': {'lattice_constants': {'Al-fcc': 4.05}}}, '`parameters`: .*Al is not among the elements Si'),
        ({'parameters': {'composition': {'Zz': 1.0}}}, '`parameters`: `composition` has the key `Zz`'),
        ({'closest': 0.0}, '`closest` is 0.0: give a share above 0'),
        ({'parameters': {'cutoff': 5.0}}, 'setting `cutoff` is now `cutoff` of the fit'),
        ({'structures': {'mine': bulk('Cu')}}, '`structures.mine` holds Cu, which is not among the elements'),
        ({'structures': {'mine': Atoms('Si', cell=[9, 9, 9], pbc=(1, 1, 0))}}, '`structures.mine` is periodic in some'),
        (
            {'structures': {'mine': bulk('Si')}, 'parameters': {'shares': {'bulk': 1}}},
            '`structures` are given, but `shares`',
        ),
        (
            {'basis': {'parameters': {'functions_per_element': {'Al': 9}}}},
            '`basis.parameters`: `functions_per_element` has no number for Si',
        ),
        ({'basis': {}}, '`basis.code` is missing: give it, or `selection: random`'),
        ({'maxvol': {}}, '`maxvol.code` is missing: give it, or `selection: random`'),
    ],
)
def test_bad_input_is_refused(inputs: Inputs, changes: Inputs, message: str) -> None:
    for name, value in changes.items():
        if name == 'structures':
            inputs[name] = {key: orm.StructureData(ase=atoms) for key, atoms in value.items()}
        else:
            nodes = (
                {key: orm.to_aiida_type(node) for key, node in value.items()} if name in ('basis', 'maxvol') else None
            )
            inputs[name] = orm.to_aiida_type(value) if nodes is None else nodes
    with pytest.raises(ValueError, match=message):
        run_get_node(InitialSetWorkChain, **inputs)
