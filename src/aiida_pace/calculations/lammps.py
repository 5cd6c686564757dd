"""`PaceLammpsCalculation`: one molecular-dynamics walker, watched by the extrapolation grade."""

from __future__ import annotations

import typing as t

import numpy as np
from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec

from aiida_pace.calculations.base import PaceCalcJob, validate_active_set, validate_known_elements
from aiida_pace.config import MdConfig, config_error
from aiida_pace.data.active_set import AceActiveSetData
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.formats import lammps

__all__ = ('PaceLammpsCalculation', 'elements_of')

#: Seeds that LAMMPS takes.
MAX_SEED = 2**31 - 1


class PaceLammpsCalculation(PaceCalcJob):
    """Run LAMMPS with ``pace/extrapolation``, or ``pace-lmp``: NVT or NPT with ramps, halted by the grade."""

    CACHE_VERSION = 1
    PARSER = 'pace.lammps'

    FILENAME_INPUT = 'input.lmp'
    FILENAME_DATA = lammps.FILE_DATA
    FILENAME_POTENTIAL = lammps.FILE_POTENTIAL
    FILENAME_ACTIVE_SET = lammps.FILE_ACTIVE_SET
    FILENAME_COLLECTED = lammps.FILE_COLLECTED
    FILENAME_SAMPLES = lammps.FILE_SAMPLES
    FILENAME_HALT = lammps.FILE_HALT
    FILENAME_LOG = 'log.lammps'
    FILENAME_OUTPUT = 'lammps.out'

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]
        """Declare ports and exit codes."""
        super().define(spec)
        spec.input(
            'structure',
            valid_type=orm.StructureData,
            validator=cls.validate_structure,
            help='Where the walker starts: two atoms or more, periodic in all directions, any cell.',
        )
        spec.input('potential', valid_type=AcePotentialData, help='The potential.')
        spec.input('active_set', valid_type=AceActiveSetData, help='Active set of the potential.')
        spec.input(
            'parameters',
            valid_type=orm.Dict,
            default=lambda: orm.Dict({}),
            validator=lambda node, _: config_error(MdConfig, node.get_dict()),
            help='Settings of `MdConfig`.',
        )
        spec.input(
            'seed', valid_type=orm.Int, validator=cls.validate_seed, help='Random seed of the initial velocities.'
        )

        spec.output(
            'extrapolative',
            valid_type=AtomsDatasetData,
            required=False,
            help='Frames with a grade of `collect_grade` or more, with the grade of each atom, origin '
            '`extrapolative`. The last frame of a halted walker has the origin `halt`.',
        )
        spec.output(
            'samples',
            valid_type=AtomsDatasetData,
            required=False,
            help='Evenly spaced frames of the run, those above `halt_grade` and the first left out, with the grade of '
            'each atom, origin `sample`. Some may be in `extrapolative` too.',
        )
        spec.output(
            'thermo',
            valid_type=orm.ArrayData,
            required=False,
            help='Arrays (n,): `step`, `time` (fs), `temperature` (K), `pressure` (GPa), `potential_energy` (eV, '
            'without the reference energies of the potential), `volume` (Å³), `max_grade`.',
        )
        spec.output(
            'output_parameters',
            valid_type=orm.Dict,
            required=False,
            help='`halted`, `halt_step`, `halt_grade` (None without a halt), `steps` made, `target_steps`, '
            '`max_grade`, `collected` and `sampled` (numbers of frames), `lammps_version`, `wall_time_seconds` '
            '(None when interrupted).',
        )
        spec.default_output_node = 'output_parameters'

        spec.exit_code(
            310,
            'ERROR_LOG_MISSING',
            invalidates_cache=True,
            message='LAMMPS wrote no `{filename}`; its last output was: "{detail}"; see `{output}`, and check that the '
            'code runs LAMMPS or `pace-lmp`.',
        )
        spec.exit_code(
            320,
            'ERROR_DUMP_UNREADABLE',
            invalidates_cache=True,
            message='`{filename}` cannot be used: {detail}; the frames before the fault are attached.',
        )
        spec.exit_code(
            330,
            'ERROR_GRADE_MISSING',
            invalidates_cache=True,
            message='the extrapolation grade was 0 in all {count} evaluations: this build of LAMMPS (version '
            '{version}) does not compute the grade; use a version after November 2023, or `pace-lmp`.',
        )
        spec.exit_code(
            400,
            'ERROR_RUN_INTERRUPTED',
            message='LAMMPS was interrupted after {steps} of {target} steps; give it more time or fewer `steps`. The '
            'output until then is attached.',
        )
        spec.exit_code(
            410,
            'ERROR_RUN_FAILED',
            message='LAMMPS failed after {steps} of {target} steps: {detail}; see `{filename}`. The output until then '
            'is attached.',
        )
        spec.exit_code(
            420,
            'ERROR_DYNAMICS_UNSTABLE',
            message='the atoms flew apart after {steps} of {target} steps: {detail}; lower `timestep` or `halt_grade`, '
            'or raise the dampings. The output until then is attached.',
        )

    @staticmethod
    def validate_structure(structure: orm.StructureData, _: t.Any) -> str | None:
        """Refuse what cannot be run: free surfaces, a single atom, sites without exactly one element."""
        if not all(structure.pbc):
            return f'`structure` has the periods {structure.pbc}: give one that is periodic in all directions.'
        if len(structure.sites) < 2:
            return '`structure` has one atom only, which has no temperature: give a supercell.'
        if structure.is_alloy or structure.has_vacancies:
            return '`structure` has sites of several elements or none: give each site exactly one element.'
        return None

    @staticmethod
    def validate_seed(seed: orm.Int, _: t.Any) -> str | None:
        """Refuse seeds that LAMMPS does not take."""
        if not 1 <= seed.value <= MAX_SEED:
            return f'`seed` is {seed.value}: give a number from 1 to {MAX_SEED}.'
        return None

    @classmethod
    def validate_inputs(cls, inputs: dict[str, t.Any], namespace: t.Any) -> str | None:
        """Refuse elements that the potential does not know and the active set of another potential."""
        potential, structure = inputs.get('potential'), inputs.get('structure')
        return validate_known_elements(
            'structure',
            elements_of(structure) if structure is not None else (),
            potential,
            'give a potential that was trained on all elements of the structure',
        ) or validate_active_set(inputs.get('active_set'), potential)

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write input and structure; the other files are copied from the nodes."""
        config = MdConfig.model_validate(self.inputs.parameters.get_dict())
        structure, potential, active_set = self.inputs.structure, self.inputs.potential, self.inputs.active_set
        elements = elements_of(structure)
        atoms = structure.get_ase()
        data = lammps.data_file(
            np.asarray(atoms.numbers),
            np.asarray(atoms.positions),
            lammps.Orientation.of_cell(atoms.cell.array),
            elements,
            triclinic=config.ensemble == 'npt' and config.barostat == 'tri',
        )
        for name, content in (
            (self.FILENAME_DATA, data),
            (self.FILENAME_INPUT, lammps.input_script(config, elements, self.inputs.seed.value)),
        ):
            with folder.open(name, 'w', encoding='utf-8') as handle:
                handle.write(content)

        codeinfo = CodeInfo()
        codeinfo.code_uuid = self.inputs.code.uuid
        codeinfo.cmdline_params = ['-in', self.FILENAME_INPUT, '-log', self.FILENAME_LOG, '-screen', 'none']
        codeinfo.stdout_name = self.FILENAME_OUTPUT
        codeinfo.join_files = True

        calcinfo = CalcInfo()
        calcinfo.codes_info = [codeinfo]
        calcinfo.local_copy_list = [
            (potential.uuid, potential.FILENAME, self.FILENAME_POTENTIAL),
            (active_set.uuid, active_set.FILENAME, self.FILENAME_ACTIVE_SET),
        ]
        calcinfo.retrieve_list = [self.FILENAME_LOG, self.FILENAME_OUTPUT]
        # The frames go to the repository once, in the output nodes.
        calcinfo.retrieve_temporary_list = [self.FILENAME_COLLECTED, self.FILENAME_SAMPLES, self.FILENAME_HALT]
        return calcinfo


def elements_of(structure: orm.StructureData) -> list[str]:
    """Return the elements of a structure in the order of LAMMPS' atom types."""
    return sorted(structure.get_symbols_set())
