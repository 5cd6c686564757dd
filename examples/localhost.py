"""Set up this machine for the examples: one code per engine and the pseudopotentials that come with Debian.

    verdi run examples/localhost.py FOLDER_OF_THE_ENGINES FOLDER_OF_THE_PSEUDOPOTENTIALS

A second run changes nothing, but for codes that are to run another executable: the old ones get another label.
"""

import contextlib
import shutil
import sqlite3
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida.manage import get_manager
from aiida.plugins import DataFactory, GroupFactory

#: Executable and calculation plugin of each code.
CODES = {
    'pw': ('pw.x', 'quantumespresso.pw'),
    'pacemaker': ('pacemaker', 'pace.train'),
    'pace_fit_linear': ('pace-fit-linear', 'pace.train'),
    'pace_yaml2yace': ('pace_yaml2yace', 'pace.train'),
    'pace_activeset': ('pace_activeset', 'pace.active_set'),
    'pace_select': ('pace-select', 'pace.select'),
    'pace_embed': ('pace-embed', 'pace.embed'),
    'pace_swarm': ('pace-swarm', 'pace.swarm'),
    'pace_evaluate': ('pace-evaluate', 'pace.evaluate'),
    'pace_label': ('pace-label', 'pace.label_calculator'),
    'lammps': ('pace-lmp', 'pace.lammps'),
}
#: One norm-conserving LDA pseudopotential per element: `Si.pz-vbc.UPF`, `Al.pz-vbc.UPF`.
PSEUDO_LABEL, PSEUDO_PATTERN = 'pz-vbc', '*.pz-vbc.UPF'
#: The daemon hands its PYTHONPATH on to its jobs: without the first line the engines would import AiiDA's packages.
PREPEND_TEXT = 'unset PYTHONPATH\nexport OMP_NUM_THREADS=1'

# Without a write-ahead log, whoever looks at a campaign on a busy machine may lock its daemon out, which then stalls.
storage = get_manager().get_profile_storage()
if storage.profile.storage_backend == 'core.sqlite_dos':
    with contextlib.closing(sqlite3.connect(storage.filepath_database)) as database:
        database.execute('PRAGMA journal_mode=WAL')

engines, pseudos = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
computer = orm.load_computer('localhost')
computer.set_default_mpiprocs_per_machine(1)

for label, (executable, plugin) in CODES.items():
    path = engines / executable
    filepath = str(path if path.exists() else shutil.which(executable) or executable)
    try:
        code = orm.load_code(f'{label}@localhost')
        if str(code.filepath_executable) == filepath:
            continue
        code.label = f'{label}-{code.pk}'
    except NotExistent:
        pass
    orm.InstalledCode(
        label=label,
        computer=computer,
        filepath_executable=filepath,
        default_calc_job_plugin=plugin,
        prepend_text=PREPEND_TEXT,
    ).store()

family = GroupFactory('pseudo.family')
try:
    orm.load_group(PSEUDO_LABEL)
except NotExistent:
    with TemporaryDirectory() as folder:
        for path in pseudos.glob(PSEUDO_PATTERN):
            shutil.copy(path, Path(folder, f'{path.name.split(".")[0]}.upf'))
        family.create_from_folder(Path(folder), PSEUDO_LABEL, pseudo_type=DataFactory('pseudo.upf'))
