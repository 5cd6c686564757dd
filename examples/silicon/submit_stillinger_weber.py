"""Try the loop before DFT is set up: `verdi run examples/silicon/submit_stillinger_weber.py`.

The labels come from silicon of Stillinger and Weber in LAMMPS, in seconds. Any other calculator of ASE takes its place,
such as `{'calculator': 'tblite.ase:TBLite', 'kwargs': {'method': 'GFN1-xTB'}}`, when it is installed where `pace-label`
is; or an ACE potential, as `label.calculator.potential`.
"""

from aiida import orm
from aiida.engine import submit
from aiida.plugins import WorkflowFactory
from ase.build import bulk

ActiveLearningWorkChain = WorkflowFactory('pace.active_learning')

names = ('pace_label', 'pace_yaml2yace', 'pace_activeset', 'pace_select', 'pace_embed', 'pace_swarm', 'pace_evaluate')
codes = {name: f'{name}@localhost' for name in (*names, 'lammps')}
codes['pacemaker'] = 'pace_fit_linear@localhost'

# F. H. Stillinger and T. A. Weber, Phys. Rev. B 31, 5262 (1985), in a parameter file of LAMMPS: epsilon (eV),
# sigma (Å), a, lambda, gamma, cosine of the angle, A, B, p, q, and a tolerance.
SILICON = 'Si Si Si 2.1683 2.0951 1.80 21.0 1.20 -0.333333333333 7.049556277 0.6022245584 4 0 0\n'

overrides = {
    'stop': {'max_cycles': 10, 'target': 0.1},
    'label': {
        'calculator': {
            'parameters': {
                'calculator': 'aiida_pace.engines.lammps_calculator:LammpsCalculator',
                'kwargs': {
                    'elements': ['Si'],
                    'pair_style': 'sw',
                    'pair_coeff': ['* * Si.sw Si'],
                    'files': {'Si.sw': SILICON},
                },
            },
        },
    },
    'train': {'fit': {'parameters': {'evaluator': 'linear', 'functions_per_element': 60}}},
    'explore': {'lammps': {'parameters': {'temperature_stop': 2000, 'steps': 1000}}},
}
options = {'withmpi': False, 'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1}}

walkers = {'diamond': orm.StructureData(ase=bulk('Si', 'diamond', a=5.43, cubic=True))}
builder = ActiveLearningWorkChain.get_builder_from_protocol(codes, walkers, 'fast', overrides, options)
campaign = submit(builder)
print(f'campaign submitted: {campaign.pk}; follow it with `aiida-pace status --follow {campaign.pk}`')
