"""Submit the small silicon campaign to the daemon, print its PK: `verdi run submit.py [PK of one to go on from]`."""

import sys

from aiida.engine import submit

from tests.fixtures.silicon import silicon_campaign

CODES = {
    name: f'{label}@localhost'
    for name, label in {
        'pw': 'pw',
        'pacemaker': 'pace_fit_linear',
        'pace_yaml2yace': 'pace_yaml2yace',
        'pace_activeset': 'pace_activeset',
        'pace_select': 'pace_select',
        'pace_embed': 'pace_embed',
        'pace_swarm': 'pace_swarm',
        'pace_evaluate': 'pace_evaluate',
        'lammps': 'lammps',
    }.items()
}

builder = silicon_campaign(CODES)
if len(sys.argv) > 1:
    builder.restart_from = int(sys.argv[1])
print(submit(builder).pk)
