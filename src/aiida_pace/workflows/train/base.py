"""Train a potential, restarting where it can, and build its active set."""

from __future__ import annotations

import typing as t

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import (
    BaseRestartWorkChain,
    ExitCode,
    ProcessHandlerReport,
    ToContext,
    process_handler,
    while_,
)
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_pace.calculations.active_set import PaceActiveSetCalculation
from aiida_pace.calculations.functions.training import affordable_parameters, environments, functions_for
from aiida_pace.calculations.train import PaceTrainCalculation
from aiida_pace.config import TrainingConfig
from aiida_pace.data.active_set import AceActiveSetData
from aiida_pace.training.training_set import few_atoms
from aiida_pace.workflows.graph import cause_of
from aiida_pace.workflows.resumable import ResumableWorkChain, labelled

__all__ = ('TrainBaseWorkChain',)


class TrainBaseWorkChain(ResumableWorkChain, BaseRestartWorkChain):
    """Run ``pace.train``, from its interim potential after a walltime kill, then ``pace.active_set``.

    An active set needs more atoms of an element than it has functions: where the data hold fewer, the fit has fewer
    functions than its settings ask for. Continued from with more data, the potential grows up to what they ask for.
    """

    _process_class = PaceTrainCalculation

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        """Define the process specification."""
        super().define(spec)
        spec.expose_inputs(PaceTrainCalculation, namespace='fit')
        spec.expose_inputs(PaceActiveSetCalculation, namespace='active_set', exclude=('potential', 'datasets'))
        steps: t.Any = cls  # for `outline`, steps are functions of any work chain
        spec.outline(
            steps.setup,
            steps.size_basis,
            while_(steps.should_run_process)(steps.run_process, steps.inspect_process),
            steps.run_active_set,
            steps.inspect_active_set,
            steps.results,
        )
        spec.expose_outputs(PaceTrainCalculation)
        spec.output('active_set', valid_type=AceActiveSetData, required=False, help='The active set of the potential.')
        spec.exit_code(
            210,
            'ERROR_ATOMS_INSUFFICIENT',
            message='the data sets `fit.datasets` are too small for any basis: {detail}.',
        )
        spec.exit_code(
            410,
            'ERROR_ACTIVE_SET_FAILED',
            message='the potential was trained, but its active set could not be built: {cause}',
        )

    def setup(self) -> None:
        """Take the inputs of the training."""
        super().setup()
        self.ctx.inputs = AttributeDict(self.exposed_inputs(PaceTrainCalculation, 'fit'))

    def size_basis(self) -> ExitCode | None:
        """Take no more functions of an element than the data carry, and say so."""
        datasets = {f'dataset_{name}': dataset for name, dataset in self.ctx.inputs.datasets.items()}
        config = TrainingConfig.model_validate(self.ctx.inputs.parameters.get_dict())
        atoms = environments(config, datasets.values())
        if few := few_atoms(atoms, config.order):
            return self.exit_codes.ERROR_ATOMS_INSUFFICIENT.format(detail=next(iter(few.values())))  # type: ignore[no-any-return]
        functions = functions_for(config, atoms)
        if reduced := [element for element in functions if functions[element] < config.functions_of(element)]:
            self.ctx.inputs.parameters = affordable_parameters(
                self.ctx.inputs.parameters,
                **datasets,
                metadata={'call_link_label': 'size_basis'},  # type: ignore[arg-type]
            )
            self.report(
                'a basis sized to the data: '
                + ', '.join(
                    f'{functions[element]} of {config.functions_of(element)} functions of {element}, which has '
                    f'{atoms[element]} atoms with neighbours'
                    for element in reduced
                )
            )
        return None

    @process_handler(exit_codes=PaceTrainCalculation.exit_codes.ERROR_FIT_INTERRUPTED)
    def continue_from_interim(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport:
        """Continue an interrupted fit from the last potential it wrote."""
        self.ctx.inputs.potential = calculation.outputs.potential
        self.report(f'training<{calculation.pk}>: {calculation.exit_message}')
        if self.ctx.iteration >= self.inputs.max_iterations.value:
            self.results()  # out of tries: the interim potential is handed over all the same
        return ProcessHandlerReport(do_break=True)

    @process_handler(
        exit_codes=[
            PaceTrainCalculation.exit_codes.ERROR_YACE_MISSING,
            PaceTrainCalculation.exit_codes.ERROR_POSTERIOR_MISSING,
        ]
    )
    def accept_potential_alone(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport:
        """Go on with a potential that lacks the format of production runs, or its error bars."""
        self.report(f'training<{calculation.pk}>: {calculation.exit_message}')
        self.ctx.is_finished = True
        return ProcessHandlerReport(do_break=True)

    def run_active_set(self) -> ToContext[str, t.Any]:
        """Build the active set from the data that the potential was trained on."""
        inputs = self.exposed_inputs(PaceActiveSetCalculation, 'active_set')
        inputs['potential'] = self.ctx.children[-1].outputs.potential
        inputs['datasets'] = self.inputs.fit.datasets
        return ToContext(active_set=self.submit(PaceActiveSetCalculation, labelled('active_set', inputs)))

    def inspect_active_set(self) -> ExitCode | None:
        """Attach the potential all the same when its active set failed."""
        if not self.ctx.active_set.is_finished_ok:
            self.results()
            return self.exit_codes.ERROR_ACTIVE_SET_FAILED.format(cause=cause_of(self.ctx.active_set))  # type: ignore[no-any-return]
        self.out('active_set', self.ctx.active_set.outputs.active_set)
        return None
