"""Train silicon until its properties are those of DFT: `verdi run examples/silicon/submit_validated.py`."""

from aiida import orm
from aiida.engine import submit
from aiida.plugins import WorkflowFactory
from ase.build import bulk

ActiveLearningWorkChain = WorkflowFactory('pace.active_learning')

# The same script serves a cluster: name the codes of its computers here.
names = ('pw', 'pace_yaml2yace', 'pace_activeset', 'pace_select', 'pace_embed', 'pace_swarm', 'pace_evaluate', 'lammps')
codes = {name: f'{name}@localhost' for name in names} | {'pacemaker': 'pace_fit_linear@localhost'}

crystal = bulk('Si', 'diamond', a=5.40)
diamond = bulk('Si', 'diamond', a=5.40, cubic=True)
walkers = {'chain': crystal.repeat((2, 1, 1)), 'diamond': diamond, 'large': diamond.repeat(2)}

overrides = {
    'stop': {'max_cycles': 20, 'target': 0.08, 'min_audit': 8},
    'audit': {'count': 4},
    # Small cells whose shape is free; then, as the proof, a large one too, hotter, for 20 ps.
    'stages': [
        {'temperature': 600, 'pressure': 0, 'structures': ['chain', 'diamond'], 'steps': 4000},
        {'temperature': 1200, 'steps': 20000},
    ],
    # Cells of the crystal itself, strained and displaced a little, teach what its properties are made of.
    'initial': {
        'count': 50,
        'parameters': {
            'shares': {'dimer': 3, 'trimer': 1, 'bulk': 20, 'vacancy': 2, 'packing': 2, 'user': 21},
            'strain': 0.08,
            'displacement': 0.4,
            'max_small_atoms': 8,
            'max_atoms': 12,
            'vacuum': 8,
        },
    },
    'label': {
        'pw': {
            'pseudo_family': 'pz-vbc',
            # Meshes of different cells must agree to 1 meV/atom, or elastic constants cannot be learnt from energies.
            'kpoints_distance': 0.25,
            'pw': {
                'parameters': {
                    'SYSTEM': {'ecutwfc': 20.0, 'ecutrho': 80.0, 'degauss': 0.01},
                    'ELECTRONS': {'conv_thr': 1e-8},
                }
            },
        },
    },
    'train': {
        'fit': {
            'parameters': {
                'evaluator': 'linear',
                'functions_per_element': 250,
                'cutoff': 6.0,
                # The crystal counts most, and its energies: elastic constants are small differences of them.
                'kappa': 0.1,
                'weighting': 'energy',
                'energy_scale': 0.05,
                'force_scale': 0.3,
            }
        }
    },
    'explore': {'lammps': {'parameters': {'barostat': 'tri', 'collect_grade': 2, 'halt_grade': 10}}},
    'select': {'embed': {'parameters': {'max_dft_atoms': 24}}},
}
options = {'withmpi': False, 'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1}}

structures = {name: orm.StructureData(ase=atoms) for name, atoms in walkers.items()}
builder = ActiveLearningWorkChain.get_builder_from_protocol(codes, structures, 'balanced', overrides, options)
seeds = {'crystal': crystal, 'chain': walkers['chain'], 'cubic': diamond}
builder.initial.structures = {name: orm.StructureData(ase=atoms) for name, atoms in seeds.items()}
builder.validate.structures = {'diamond': orm.StructureData(ase=crystal)}
builder.validate.parameters = orm.Dict({'strain': 0.02})
campaign = submit(builder)
print(f'campaign submitted: {campaign.pk}; follow it with `aiida-pace status --follow {campaign.pk}`')
