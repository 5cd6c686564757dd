"""`PaceBasisCalculation`: the basis functions that a fit will have, before there is anything to fit."""

from __future__ import annotations

import typing as t

import numpy as np
from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import chemical_symbols

from aiida_pace.calculations.base import PaceCalcJob
from aiida_pace.config import TrainingConfig, config_error
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.formats.pacemaker import write_dataframe, write_input
from aiida_pace.frames import Frames

__all__ = ('PaceBasisCalculation',)


class PaceBasisCalculation(PaceCalcJob):
    """Run ``pacemaker --dry-run``, or ``pace-fit-linear --dry-run`` in its place.

    The code and its input are those of the fit, and so are the functions of the basis: they depend on settings and
    elements, not on data. What the code wants to see of data are dimers with energies and forces of zero.
    """

    CACHE_VERSION = 1
    PARSER = 'pace.basis'

    FILENAME_INPUT = 'input.yaml'
    FILENAME_DATASET = 'df.pckl.gzip'
    FILENAME_BASIS = 'target_potential.yaml'
    FILENAME_OUTPUT = 'basis.out'

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]
        """Declare ports and exit codes."""
        super().define(spec)
        spec.inputs['code'].help = 'The code of the fit: `pacemaker`, or `pace-fit-linear` for `evaluator: linear`.'
        spec.input('elements', valid_type=orm.List, validator=cls.validate_elements, help='Chemical symbols.')
        spec.input(
            'parameters',
            valid_type=orm.Dict,
            default=lambda: orm.Dict({}),
            validator=cls.validate_parameters,
            help='Settings of `aiida_pace.config.TrainingConfig`, those of the fit.',
        )

        spec.output(
            'basis',
            valid_type=AcePotentialData,
            required=False,
            help='A potential that is not fitted: its basis counts.',
        )

        spec.exit_code(
            310,
            'ERROR_BASIS_FAILED',
            invalidates_cache=True,
            message='the basis was refused with: {detail}; see `{filename}` and check the code and the `parameters`.',
        )
        spec.exit_code(
            320,
            'ERROR_BASIS_UNUSABLE',
            invalidates_cache=True,
            message='`{filename}` cannot be used: {detail}; check the disk and the version of the code.',
        )
        spec.exit_code(
            400,
            'ERROR_ENGINE_INTERRUPTED',
            message='the code was cut short, its last words: "{detail}"; give it more time or memory.',
        )

    @classmethod
    def validate_elements(cls, node: orm.List | None, port: t.Any) -> str | None:
        """Refuse an empty list and what is no chemical symbol."""
        if node is not None and (not len(node) or not set(node) <= set(chemical_symbols[1:])):
            return f'`{port.name}` is {list(node)}: give chemical symbols, such as Si.'
        return None

    @classmethod
    def validate_parameters(cls, node: orm.Dict | None, port: t.Any) -> str | None:
        """Refuse settings that `TrainingConfig` does not know or that are out of range."""
        error = config_error(TrainingConfig, node.get_dict()) if node is not None else None
        return f'`{port.name}`: {error}' if error else None

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the input of the fit and the dimers."""
        config = TrainingConfig.model_validate(self.inputs.parameters.get_dict())
        elements = sorted(set(self.inputs.elements))
        references = dict.fromkeys(elements, 0.0)
        with folder.open(self.FILENAME_INPUT, 'w', encoding='utf-8') as handle:
            handle.write(write_input(config, elements, references, dataset=self.FILENAME_DATASET))
        with folder.open(self.FILENAME_DATASET, 'wb') as handle:
            write_dataframe(_dimers(elements, config.cutoff / 2), handle)
        codeinfo = CodeInfo()
        codeinfo.code_uuid = self.inputs.code.uuid
        codeinfo.cmdline_params = [self.FILENAME_INPUT, '--dry-run']
        codeinfo.stdout_name = self.FILENAME_OUTPUT
        codeinfo.join_files = True
        calcinfo = CalcInfo()
        calcinfo.codes_info = [codeinfo]
        calcinfo.retrieve_list = [self.FILENAME_OUTPUT]
        calcinfo.retrieve_temporary_list = [self.FILENAME_BASIS]
        return calcinfo


def _dimers(elements: list[str], distance: float) -> Frames:
    """Return one dimer of each element, labelled with zeros; ``distance`` in Å."""
    images = []
    for element in elements:
        atoms = Atoms([element, element], [[0, 0, 0], [0, 0, distance]])
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((2, 3)))
        images.append(atoms)
    return Frames.from_atoms(images, origin='dimer')
