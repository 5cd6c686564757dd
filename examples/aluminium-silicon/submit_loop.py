"""Train a potential for aluminium and silicon: `verdi run examples/aluminium-silicon/submit_loop.py`."""

from aiida import orm
from aiida.engine import submit
from aiida.plugins import WorkflowFactory
from ase.build import bulk

ActiveLearningWorkChain = WorkflowFactory('pace.active_learning')

# The same script serves a cluster: name the codes of its computers here.
names = ('pw', 'pacemaker', 'pace_yaml2yace', 'pace_activeset', 'pace_select', 'pace_embed', 'pace_swarm')
codes = {name: f'{name}@localhost' for name in (*names, 'pace_evaluate', 'lammps')}

# The pure elements, and an alloy of every second atom: each in cells of 8 atoms.
walkers = {
    'aluminium': bulk('Al', 'fcc', a=4.05, cubic=True).repeat((2, 1, 1)),
    'silicon': bulk('Si', 'diamond', a=5.43, cubic=True),
    'alloy': bulk('AlSi', 'rocksalt', a=5.2, cubic=True),
}

overrides = {
    'stop': {'max_cycles': 10, 'target': 0.35},
    # One after another: what is quiet at one temperature need not be at the next.
    'stages': [{'temperature': 1000}, {'temperature': 4000, 'steps': 2000}],
    'initial': {'count': 24},
    'label': {
        'pw': {
            'pseudo_family': 'pz-vbc',
            'pw': {'parameters': {'SYSTEM': {'ecutwfc': 16.0, 'ecutrho': 64.0, 'degauss': 0.02}}},
        },
    },
    'explore': {'lammps': {'parameters': {'temperature_start': 300, 'steps': 1000}}},
}
options = {'withmpi': False, 'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1}}

structures = {name: orm.StructureData(ase=atoms) for name, atoms in walkers.items()}
builder = ActiveLearningWorkChain.get_builder_from_protocol(codes, structures, 'fast', overrides, options)
campaign = submit(builder)
print(f'campaign submitted: {campaign.pk}; follow it with `aiida-pace status --follow {campaign.pk}`')
