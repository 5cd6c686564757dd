"""A large cell halts: DFT sees small boxes, and the retrained potential knows the place of the halt better."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory, DataFactory
from ase.build import bulk

from aiida_pace.frames import FloatArray
from aiida_pace.workflows.graph import children
from tests.fixtures.loop import BuilderOf

pytestmark = [pytest.mark.engines, pytest.mark.slow, pytest.mark.usefixtures('aiida_profile_clean')]

#: Largest number of atoms that DFT may see.
LARGEST = 40


def test_a_large_halt_is_learnt_from_small_boxes(
    builder_of: BuilderOf, pace_code: Callable[[str, str], orm.InstalledCode]
) -> None:
    builder = builder_of(
        {
            'stop': {'max_cycles': 1, 'quiet_rounds': 1},
            # Small cells about the crystal: a melt is unknown.
            'initial': {
                'count': 12,
                'parameters': {
                    'selection': 'random',
                    'shares': {'bulk': 1, 'dimer': 0},
                    'displacement': 0.2,
                    'volumes': (0.95, 1.05),
                    'lattice_constants': {'Si-diamond': 5.4},
                },
            },
            'train': {'fit': {'parameters': {'cutoff': 4.0}}},
            'explore': {'lammps': {'parameters': {'temperature_start': 1500.0, 'temperature_stop': 3000.0}}},
            'select': {'max_per_halt': 4, 'embed': {'parameters': {'max_dft_atoms': LARGEST}}},
        }
    )
    large = bulk('Si', 'diamond', a=5.4, cubic=True) * (3, 3, 3)
    assert len(large) == 216
    builder.explore.structures = {'large': orm.StructureData(ase=large)}
    _, node = run_get_node(builder)
    step = children(node)
    assert step['cycle_01_explore'].outputs.output_parameters['halted'] == ['large'], node.exit_message
    found = step['cycle_01_explore'].outputs.extrapolative['large'].frames
    assert found.origin[-1] == 'halt'

    labelled = step['cycle_01_label'].outputs.dataset.frames
    assert labelled.sizes.max() <= LARGEST
    assert 0 < np.mean(labelled.force_weight) < 1  # the buffers of the boxes do not count
    assert not labelled.weight.any()

    halt = DataFactory('pace.dataset')(found.take([len(found) - 1]).replace(grade=None)).store()

    def grades(training: str) -> FloatArray:
        outputs, _ = run_get_node(
            CalculationFactory('pace.evaluate'),
            code=pace_code('pace.evaluate', 'pace-evaluate'),
            dataset=halt,
            potential=step[training].outputs.potential,
            active_set=step[training].outputs.active_set,
        )
        return np.asarray(outputs['evaluation'].get_array('grade'))

    before, after = grades('initial_train'), grades('cycle_01_train')
    place = int(np.argmax(before))
    print(f'grade at the halt, atom {place}: {before[place]:.2f} before, {after[place]:.2f} after', labelled.sizes)
    assert after[place] < before[place] / 2
