"""Whole campaigns whose labels come from a calculator: the loop without DFT, in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory, DataFactory, WorkflowFactory
from ase.build import bulk

from aiida_pace.calculations.functions.labels import OUTCOMES
from aiida_pace.structures.fingerprint import exact_fingerprints
from aiida_pace.workflows.graph import children
from tests.fixtures.loop import BuilderOf
from tests.fixtures.nodes import stored_copies

ActiveLearningWorkChain = WorkflowFactory('pace.active_learning')
AcePotentialData = DataFactory('pace.potential')

pytestmark = [pytest.mark.engines, pytest.mark.usefixtures('aiida_profile_clean')]


def check_accounts(node: orm.ProcessNode) -> dict[str, int]:
    """Return the sum of the accounts of all labellings; each must add up."""
    total = dict.fromkeys(('requested', *OUTCOMES), 0)
    for label, step in children(node).items():
        if label.endswith('_label'):
            account = step.outputs.output_parameters
            assert account['requested'] == step.inputs.dataset.count == sum(account[name] for name in OUTCOMES)
            assert account['warnings'] == []
            for name in total:
                total[name] += account[name]
    return total


def test_silicon_of_stillinger_and_weber(cheap_campaign: BuilderOf) -> None:
    """From nothing, by LAMMPS: one cycle of every phase, and labels in batches."""
    overrides = {
        'stop': {'max_cycles': 1, 'quiet_rounds': 1},
        'explore': {'lammps': {'parameters': {'collect_grade': 1.2, 'halt_grade': 1.5}}},
        'select': {'grade_threshold': 1.2},
    }
    results, node = run_get_node(cheap_campaign(overrides))
    assert node.exit_status in (0, ActiveLearningWorkChain.exit_codes.ERROR_CONVERGENCE_NOT_REACHED.status)
    assert {'potential', 'active_set', 'datasets', 'audits', 'history'} <= set(results)
    assert results['potential'].reference_energies == {'Si': 0.0}
    total = check_accounts(node)
    assert total['labelled'] > 10
    assert total['failed'] == 0
    labelled = sum(dataset.count for name in ('datasets', 'audits') for dataset in results[name].values())
    assert labelled == total['labelled']
    # One job for each labelling, no DFT.
    jobs = orm.QueryBuilder().append(CalculationFactory('pace.label_calculator')).count()
    assert jobs == sum(label.endswith('_label') for label in children(node))
    assert not orm.QueryBuilder().append(CalculationFactory('quantumespresso.pw')).count()
    # What a walker halted at, or a swarm made around it, is stored four times from the dump to the training set: by the
    # parser, in the pool, among the candidates and with its label. What a walker also sampled is in its samples too.
    step, copies = children(node), stored_copies()
    explored = step['cycle_01_explore'].outputs
    sampled = {digest for name in explored.samples for digest in exact_fingerprints(explored.samples[name].frames)}
    halts = [explored.extrapolative[name].frames for name in explored.output_parameters['halted']]
    assert halts
    assert max(copies[exact_fingerprints(frames)[-1]] for frames in halts) <= 4
    learnt = exact_fingerprints(step['cycle_01_label'].outputs.dataset.frames)
    assert [copies[digest] for digest in learnt] == [4 + (digest in sampled) for digest in learnt]
    # The potential learnt something of silicon: the energy of a frame per atom is that of a solid.
    frames = results['datasets']['initial'].frames
    assert frames.stress is not None
    assert results['history']['history'][0]['core_seconds'] > 0


def test_teacher(cheap_campaign: BuilderOf, si_potential_files: Path) -> None:
    """An ACE potential teaches another one, which comes close to it; its properties are validated by the teacher."""
    teacher = AcePotentialData((si_potential_files / 'potential.yaml').read_bytes(), reference_energies={'Si': -100.0})
    builder = cheap_campaign(
        {
            'stop': {'max_cycles': 1, 'quiet_rounds': 1, 'target': 100.0, 'min_audit': 2},
            'explore': {'lammps': {'parameters': {'temperature_start': 50.0, 'temperature_stop': 50.0, 'steps': 20}}},
            'validate': {'parameters': {'volume_count': 5, 'phonons': False, 'supercell': [1, 1, 1]}},
        },
        teacher,
    )
    builder.explore.lammps.parameters = orm.Dict(
        {'temperature_start': 50.0, 'steps': 20, 'samples': 2, 'collect_grade': 1e3, 'halt_grade': 1e4}
    )
    builder.validate.structures = {'diamond': orm.StructureData(ase=bulk('Si', a=5.43))}
    results, node = run_get_node(builder)
    assert 'validation' in results, node.exit_message
    assert results['potential'].reference_energies == {'Si': -100.0}
    check_accounts(node)
    silicon = results['validation']['structures']['diamond']
    # Known of the teacher: a = 5.431 Å, B = 101 GPa (Stillinger and Weber).
    assert silicon['lattice_constant']['dft'] == pytest.approx(5.431, abs=0.03)
    assert silicon['bulk_modulus']['dft'] == pytest.approx(101, rel=0.15)
    assert silicon['errors']['dft'] == {}
