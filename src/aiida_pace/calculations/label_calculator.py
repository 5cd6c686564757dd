"""`PaceLabelCalculation`: labels of a batch of frames by any calculator of ASE."""

from __future__ import annotations

import json
import typing as t

from aiida import orm
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec

from aiida_pace.calculations.engine import PaceProgramCalcJob
from aiida_pace.config import CalculatorConfig, config_error
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.engines.label import PROGRAM

__all__ = ('PaceLabelCalculation',)

#: Share of the time limit of the job after which no frame is begun, so that those labelled are handed over.
TIME_SHARE = 0.95


class PaceLabelCalculation(PaceProgramCalcJob):
    """Run ``pace-label``: energies, forces and stresses of frames by a calculator of ASE, or by an ACE potential.

    A frame that fails is named with its cause; the others are labelled all the same.
    """

    CACHE_VERSION = 1
    PARSER = 'pace.label_calculator'
    PROGRAM = PROGRAM

    FILENAME_SETTINGS = 'settings.json'
    FILENAME_POTENTIAL = 'potential.yaml'
    FILENAME_REFERENCES = 'reference_energies.json'
    FILENAMES_RESULT = ('labels.npz', 'labels.json')

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]
        """Declare ports and exit codes."""
        super().define(spec)
        spec.inputs['dataset'].help = 'The frames to label.'
        spec.input(
            'parameters',
            valid_type=orm.Dict,
            required=False,
            validator=cls.validate_parameters,
            help='Settings of `CalculatorConfig`: the calculator, by import path and keyword arguments.',
        )
        spec.input(
            'potential',
            valid_type=AcePotentialData,
            required=False,
            help='An ACE potential as teacher, instead of `parameters`.',
        )
        spec.output(
            'labels',
            valid_type=orm.ArrayData,
            help='Arrays of n frames with N atoms, in the order of the data set, 0 where there is no label: `sizes` '
            '(n,) numbers of atoms, `labelled` (n,), `energy` (n,) in eV, `forces` (N, 3) in eV/Å, `stress` (n, 6) in '
            'eV/Å³ (order and sign of ASE), `has_stress` (n,), `core_seconds` and `wall_seconds` (n,).',
        )
        spec.outputs['output_parameters'].help = (
            '`count`, `labelled`, `failures` (cause by index of the frame), `unreached` (indices of frames for which '
            'the time was too short), `calculator`, `supercell` (energy per atom in twice the cell of a `frame` minus '
            'that in the cell: `difference` in eV, or the `cause` why it is not known), `load_seconds`, '
            '`wall_time_seconds`, `version` of pace-label.'
        )
        spec.exit_code(
            401,
            'ERROR_TIME_LIMIT',
            invalidates_cache=True,
            message='the time limit of the job was too short for {unreached} of {count} frames: raise '
            '`max_wallclock_seconds`, or label fewer frames in one job.',
        )
        spec.exit_code(
            510,
            'ERROR_NO_LABELS',
            message='none of the {count} frames could be labelled: {causes}.',
        )

    @classmethod
    def validate_parameters(cls, node: orm.Dict | None, _: t.Any) -> str | None:
        """Refuse settings that are unknown or wrong."""
        error = config_error(CalculatorConfig, node.get_dict()) if node is not None else None
        return f'`parameters`: {error}' if error else None

    @classmethod
    def validate_inputs(cls, inputs: dict[str, t.Any], namespace: t.Any) -> str | None:
        """Refuse none or two calculators, and elements that the potential does not know."""
        if ('parameters' in inputs) == ('potential' in inputs):
            return 'give either `parameters`, which name a calculator of ASE, or `potential`, an ACE potential.'
        return super().validate_inputs(inputs, namespace)

    def files_of_nodes(self) -> tuple[list[tuple[str, str, str]], list[str]]:
        """Return the file of the potential, when there is one."""
        if 'potential' not in self.inputs:
            return [], []
        potential = self.inputs.potential
        return [(potential.uuid, potential.FILENAME, self.FILENAME_POTENTIAL)], ['--potential', self.FILENAME_POTENTIAL]

    def write_inputs(self, folder: Folder) -> list[str]:
        """Write the settings of the calculator, or the reference energies of the potential."""
        arguments = []
        if 'parameters' in self.inputs:
            settings = CalculatorConfig.model_validate(self.inputs.parameters.get_dict()).model_dump(mode='json')
            arguments += ['--settings', self._write(folder, self.FILENAME_SETTINGS, settings)]
        elif references := self.inputs.potential.reference_energies:
            arguments += ['--reference-energies', self._write(folder, self.FILENAME_REFERENCES, references)]
        if limit := self.node.get_option('max_wallclock_seconds'):
            arguments += ['--max-seconds', f'{TIME_SHARE * limit:g}']
        return arguments

    @staticmethod
    def _write(folder: Folder, name: str, content: t.Any) -> str:
        with folder.open(name, 'w', encoding='utf-8') as handle:
            json.dump(content, handle, sort_keys=True)
        return name
