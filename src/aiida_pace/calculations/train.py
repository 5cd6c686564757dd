"""`PaceTrainCalculation`: fit a potential to labelled frames."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo, CodeRunMode
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec

from aiida_pace.calculations.base import PaceCalcJob, validate_known_elements
from aiida_pace.calculations.dry_run import write_dry_runs
from aiida_pace.config import TrainingConfig, config_error
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.data.posterior import AcePosteriorData
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.formats.pacemaker import (
    DRY_RUN_TARGET,
    POSTERIOR_SUFFIX,
    potential_sections,
    without_repulsion,
    write_dataframe,
    write_input,
)
from aiida_pace.frames import Frames
from aiida_pace.training.basis_size import BasisPlan
from aiida_pace.training.training_set import TrainingSet, TrainingSetError, training_plan, training_set

__all__ = ('PaceTrainCalculation', 'chosen_training_set')


class PaceTrainCalculation(PaceCalcJob):
    """Run ``pacemaker``, or ``pace-fit-linear`` in its place, and ``pace_yaml2yace`` after it."""

    CACHE_VERSION = 2
    PARSER = 'pace.train'

    FILENAME_INPUT = 'input.yaml'
    FILENAME_DATASET = 'df.pckl.gzip'
    FILENAME_TEST_DATASET = 'df_test.pckl.gzip'
    FILENAME_INITIAL = 'initial_potential.yaml'
    FILENAME_POTENTIAL = 'output_potential.yaml'
    FILENAME_YACE = 'output_potential.yace'
    FILENAME_POSTERIOR = f'output_potential{POSTERIOR_SUFFIX}'
    FILENAME_INTERIM = 'interim_potential_0.yaml'
    FILENAME_METRICS = 'metrics.txt'
    FILENAME_TEST_METRICS = 'test_metrics.txt'
    FILENAME_LOG = 'log.txt'
    FILENAME_STDOUT = 'pacemaker.out'
    FILENAME_STDOUT_YACE = 'pace_yaml2yace.out'

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]
        """Declare ports and exit codes."""
        super().define(spec)
        spec.input(
            'yace_code',
            valid_type=orm.AbstractCode,
            required=False,
            help='`pace_yaml2yace`; runs after the fit and makes the file for `pair_style pace` of LAMMPS.',
        )
        spec.input_namespace(
            'datasets',
            valid_type=AtomsDatasetData,
            dynamic=True,
            help='Labelled frames, in any number of data sets: all of them are fitted together.',
        )
        spec.input(
            'parameters',
            valid_type=orm.Dict,
            default=lambda: orm.Dict({}),
            validator=cls.validate_parameters,
            help='Settings of `aiida_pace.config.TrainingConfig`.',
        )
        spec.input(
            'potential',
            valid_type=AcePotentialData,
            required=False,
            help='Potential to continue from: the fit starts with the basis and the coefficients of this potential. '
            'The basis grows when `functions_per_element` asks for more functions of an element than the '
            'potential has.',
        )

        spec.output('potential', valid_type=AcePotentialData, required=False, help='The fitted potential.')
        spec.output(
            'posterior',
            valid_type=AcePosteriorData,
            required=False,
            help='The posterior of the coefficients of `potential`, for the error bars of `pace.evaluate`; only of a '
            'fit with `evaluator: linear`.',
        )
        spec.output(
            'output_parameters',
            valid_type=orm.Dict,
            required=False,
            help='Errors of the last iteration in eV and Å, named as in `metrics.txt` (`test_` before those of the '
            'frames kept out), `rmse_epa_weighted` and `rmse_f_comp_weighted` with the weights of the fit, '
            '`converged`, `iterations`, `evaluations`, `optimizer_message`, `functions_per_element`, '
            '`frames_count`, `test_frames_count`, `wall_time_seconds`.',
        )
        spec.output(
            'learning_curve',
            valid_type=orm.ArrayData,
            required=False,
            help='Arrays `iteration`, `loss`, `rmse_epa` in eV/atom, `rmse_f_comp` in eV/Å, one number per iteration, '
            'and the same after `test_` for the frames kept out.',
        )
        spec.default_output_node = 'output_parameters'

        spec.exit_code(
            300,
            'ERROR_LOG_MISSING',
            invalidates_cache=True,
            message='the code wrote no `{filename}`; its last output was: "{detail}"; check the code and its prepend '
            'text.',
        )
        spec.exit_code(
            310,
            'ERROR_FIT_FAILED',
            invalidates_cache=True,
            message='the fit stopped with: {detail}; see `{filename}`.',
        )
        spec.exit_code(
            320,
            'ERROR_POTENTIAL_UNUSABLE',
            invalidates_cache=True,
            message='`{filename}` cannot be used: {detail}; check the disk and the version of the code.',
        )
        spec.exit_code(
            321,
            'ERROR_METRICS_UNUSABLE',
            invalidates_cache=True,
            message='`{filename}` cannot be used: {detail}; check the labels and lower `kappa` or raise `l2`.',
        )
        spec.exit_code(
            400,
            'ERROR_FIT_INTERRUPTED',
            message='the fit was interrupted after {count} iterations: continue from the output `potential`, with more '
            'time or memory.',
        )
        spec.exit_code(
            410,
            'ERROR_FIT_NOT_STARTED',
            message='the fit was interrupted before it wrote a potential to continue from; its last output was: '
            '"{detail}"; give it more time or memory.',
        )
        spec.exit_code(
            510,
            'ERROR_YACE_MISSING',
            message='the potential was fitted, but `{filename}` is missing or broken: see `{output}` and check '
            '`yace_code`.',
        )
        spec.exit_code(
            511,
            'ERROR_POSTERIOR_MISSING',
            message='the potential was fitted, but its posterior `{filename}` is missing or cannot be used: {detail}; '
            'check the disk, and that the code is of the same release of aiida-pace.',
        )

    @classmethod
    def validate_parameters(cls, node: orm.Dict | None, port: t.Any) -> str | None:
        """Refuse settings that `TrainingConfig` does not know or that are out of range."""
        error = config_error(TrainingConfig, node.get_dict()) if node is not None else None
        return f'`{port.name}`: {error}' if error else None

    @classmethod
    def validate_inputs(cls, inputs: dict[str, t.Any], namespace: t.Any) -> str | None:
        """Refuse data sets that make no fit: without labels, weights, reference energies or known elements."""
        datasets: Mapping[str, AtomsDatasetData] = inputs.get('datasets') or {}
        if 'datasets' in namespace and not datasets:
            return '`datasets` is empty: give at least one data set of labelled frames.'
        if not datasets or 'parameters' not in inputs:  # not exposed
            return None
        potential: AcePotentialData | None = inputs.get('potential')
        for name, dataset in sorted(datasets.items()):
            if not dataset.is_labelled:
                return f'`datasets.{name}` holds no energies and forces: label its frames first, with `pace.label`.'
            if error := validate_known_elements(
                f'datasets.{name}', dataset.elements, potential, 'leave the potential out to fit a new one'
            ):
                return error
        try:
            chosen = chosen_training_set(datasets, inputs['parameters'], potential)
            _plan(inputs['parameters'], chosen, potential)
        except TrainingSetError as exception:
            return f'`datasets`: {exception}.'
        return None

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write input and data frames; say what to run and what to bring back."""
        potential: AcePotentialData | None = self.inputs.get('potential')
        config = _config(self.inputs.parameters)
        chosen = chosen_training_set(self.inputs.datasets, self.inputs.parameters, potential)
        plan = _plan(self.inputs.parameters, chosen, potential)
        elements = sorted(plan.functions)
        self._write_frames(folder, self.FILENAME_DATASET, chosen.fit)
        if chosen.watch is not None:
            self._write_frames(folder, self.FILENAME_TEST_DATASET, chosen.watch)
        sections = [] if plan.numbers is None else potential_sections(config, elements, plan.numbers)
        dry_runs = write_dry_runs(folder, self.inputs.code, config, sections) if len(sections) > 1 else []
        text = write_input(
            config,
            sections[0] if len(sections) == 1 else {'filename': DRY_RUN_TARGET if sections else self.FILENAME_INITIAL},
            {element: chosen.reference_energies[element] for element in elements},
            dataset=self.FILENAME_DATASET,
            test_dataset=None if chosen.watch is None else self.FILENAME_TEST_DATASET,
        )
        with folder.open(self.FILENAME_INPUT, 'w', encoding='utf-8') as handle:
            handle.write(text)
        if potential is not None:
            yaml = potential.get_yaml().decode()
            with folder.open(self.FILENAME_INITIAL, 'w', encoding='utf-8') as handle:
                handle.write(without_repulsion(yaml) if config.repulsion else yaml)

        calcinfo = CalcInfo()
        option = None if potential is None else '--initial-potential' if plan.is_grown else '--potential'
        calcinfo.codes_info = [*dry_runs, *self._codes(option)]
        calcinfo.codes_run_mode = CodeRunMode.SERIAL
        calcinfo.retrieve_list = [
            self.FILENAME_LOG,
            self.FILENAME_METRICS,
            self.FILENAME_TEST_METRICS,
            self.FILENAME_STDOUT,
            self.FILENAME_STDOUT_YACE,
            *(str(run.stdout_name) for run in dry_runs),
        ]
        # The potentials go to the repository once, as output node, not twice.
        calcinfo.retrieve_temporary_list = [
            self.FILENAME_POTENTIAL,
            self.FILENAME_YACE,
            self.FILENAME_INTERIM,
            *([self.FILENAME_POSTERIOR] if config.evaluator == 'linear' else []),
        ]
        return calcinfo

    def _codes(self, option: str | None) -> list[CodeInfo]:
        """Return fit and conversion; ``option`` hands over the potential to continue from, if there is one."""
        fit = CodeInfo()
        fit.code_uuid = self.inputs.code.uuid
        # Without --no-predict pacemaker evaluates all frames once more, for pictures that nobody looks at.
        fit.cmdline_params = [self.FILENAME_INPUT, '--no-predict']
        if option is not None:
            fit.cmdline_params += [option, self.FILENAME_INITIAL]
        fit.stdout_name = self.FILENAME_STDOUT
        fit.join_files = True
        if 'yace_code' not in self.inputs:
            return [fit]
        convert = CodeInfo()
        convert.code_uuid = self.inputs.yace_code.uuid
        convert.cmdline_params = [self.FILENAME_POTENTIAL, '-o', self.FILENAME_YACE]
        convert.stdout_name = self.FILENAME_STDOUT_YACE
        convert.join_files = True
        return [fit, convert]

    @staticmethod
    def _write_frames(folder: Folder, name: str, frames: Frames) -> None:
        with folder.open(name, 'wb') as handle:
            write_dataframe(frames, handle)


def chosen_training_set(
    datasets: Mapping[str, AtomsDatasetData], parameters: orm.Dict, potential: AcePotentialData | None
) -> TrainingSet:
    """Return what is fitted: the frames of all data sets, in the order of their names.

    :raises TrainingSetError: when they make no fit.
    """
    frames = Frames.concatenate([dataset.frames for _, dataset in sorted(datasets.items())])
    return training_set(frames, _config(parameters), potential.reference_energies if potential is not None else None)


def _plan(parameters: orm.Dict, chosen: TrainingSet, potential: AcePotentialData | None) -> BasisPlan:
    """Return the basis of the fit.

    :raises TrainingSetError: when the settings give no basis.
    """
    if potential is None:
        return training_plan(_config(parameters), chosen.fit.elements)
    return training_plan(_config(parameters), potential.elements, potential.functions_per_element)


def _config(parameters: orm.Dict) -> TrainingConfig:
    return TrainingConfig.model_validate(parameters.get_dict())
