"""`PaceBasisCalculation`: the basis functions that a fit will have, before there is anything to fit."""

from __future__ import annotations

import typing as t

from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeRunMode
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec
from ase.data import chemical_symbols

from aiida_pace.calculations.base import PaceCalcJob
from aiida_pace.calculations.dry_run import write_dry_runs
from aiida_pace.config import TrainingConfig, config_error
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.formats.pacemaker import DRY_RUN_TARGET, potential_sections
from aiida_pace.training.training_set import TrainingSetError, training_plan

__all__ = ('PaceBasisCalculation',)


class PaceBasisCalculation(PaceCalcJob):
    """Run ``pacemaker --dry-run``, or ``pace-fit-linear --dry-run`` in its place.

    The code and its input are those of the fit, and so are the functions of the basis: they depend on settings and
    elements, not on data. Different numbers of functions take `pacemaker` one run for each number.
    """

    CACHE_VERSION = 1
    PARSER = 'pace.basis'

    FILENAME_BASIS = DRY_RUN_TARGET
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
            help='A potential with the basis and without fitted coefficients.',
        )

        spec.exit_code(
            310,
            'ERROR_BASIS_FAILED',
            invalidates_cache=True,
            message='making the basis failed: {detail}; see `{filename}` and check the code and the `parameters`.',
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
            message='the code was interrupted; its last output was: "{detail}"; give it more time or memory.',
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

    @classmethod
    def validate_inputs(cls, inputs: dict[str, t.Any], namespace: t.Any) -> str | None:
        """Refuse settings without a number of functions for each element."""
        if 'parameters' not in inputs or 'elements' not in inputs:
            return None
        try:
            training_plan(_config(inputs['parameters']), set(inputs['elements']))
        except TrainingSetError as exception:
            return f'`parameters`: {exception}.'
        return None

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the input of the fit, without its data."""
        config, elements = _config(self.inputs.parameters), sorted(set(self.inputs.elements))
        plan = training_plan(config, elements)
        calcinfo = CalcInfo()
        sections = potential_sections(config, elements, plan.numbers or {})
        calcinfo.codes_info = write_dry_runs(folder, self.inputs.code, config, sections)
        calcinfo.codes_run_mode = CodeRunMode.SERIAL
        calcinfo.retrieve_list = [self.FILENAME_OUTPUT]
        calcinfo.retrieve_temporary_list = [self.FILENAME_BASIS]
        return calcinfo


def _config(parameters: orm.Dict) -> TrainingConfig:
    return TrainingConfig.model_validate(parameters.get_dict())
