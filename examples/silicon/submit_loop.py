"""Train a potential for silicon from nothing: `verdi run examples/silicon/submit_loop.py`."""

from aiida import orm
from aiida.engine import submit
from aiida.plugins import WorkflowFactory
from ase.build import bulk

ActiveLearningWorkChain = WorkflowFactory('pace.active_learning')

# The same script serves a cluster: name the codes of its computers here.
codes = {
    'pw': 'pw@localhost',
    'pacemaker': 'pacemaker@localhost',
    'pace_yaml2yace': 'pace_yaml2yace@localhost',
    'pace_activeset': 'pace_activeset@localhost',
    'pace_select': 'pace_select@localhost',
    'pace_embed': 'pace_embed@localhost',
    'pace_swarm': 'pace_swarm@localhost',
    'pace_evaluate': 'pace_evaluate@localhost',
    'lammps': 'lammps@localhost',
}

# Small periodic cells to walk in: they meet the same surroundings as large ones, for a fraction of the DFT.
diamond = bulk('Si', 'diamond', a=5.40, cubic=True)
strained = diamond.copy()
strained.set_cell(diamond.cell @ [[1.04, 0.02, 0], [0, 0.98, 0.02], [0, 0, 1.02]], scale_atoms=True)
walkers = {
    'diamond': orm.StructureData(ase=diamond),
    'strained': orm.StructureData(ase=strained),
}

overrides = {
    'stop': {'max_cycles': 10, 'target': 0.5},
    'label': {
        'pw': {
            'pseudo_family': 'pz-vbc',
            'pw': {'parameters': {'SYSTEM': {'ecutwfc': 16.0, 'ecutrho': 64.0, 'degauss': 0.01}}},
        },
    },
    # A first set chosen by MaxVol leaves little unknown: halt early, or the demo meets nothing.
    'explore': {
        'lammps': {'parameters': {'temperature_stop': 2000, 'steps': 1000, 'collect_grade': 1.5, 'halt_grade': 2.5}}
    },
}
options = {'withmpi': False, 'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1}}

builder = ActiveLearningWorkChain.get_builder_from_protocol(codes, walkers, 'fast', overrides, options)
campaign = submit(builder)
print(f'campaign submitted: {campaign.pk}; follow it with `aiida-pace status --follow {campaign.pk}`')
