"""The trials of all codes of a campaign, and with them the names of the codes and the ports that each fills."""

from __future__ import annotations

import shlex
import typing as t

from aiida import orm

from aiida_pace.calculations.active_set import PaceActiveSetCalculation
from aiida_pace.calculations.embed import PaceEmbedCalculation
from aiida_pace.calculations.engine import PaceEngineCalcJob
from aiida_pace.calculations.evaluate import PaceEvaluateCalculation
from aiida_pace.calculations.lammps import PaceLammpsCalculation
from aiida_pace.calculations.select import PaceSelectCalculation
from aiida_pace.calculations.swarm import PaceSwarmCalculation
from aiida_pace.calculations.train import PaceTrainCalculation
from aiida_pace.config import TrainingConfig
from aiida_pace.workflows.check.trial import (
    Check,
    Inputs,
    JobTrial,
    LabelTrial,
    Trial,
    TrialError,
    finished,
    live_grade,
    text_of,
)
from aiida_pace.workflows.graph import cause_of
from aiida_pace.workflows.label.labeller import Labeller
from aiida_pace.workflows.label.labellers import LABELLERS

__all__ = ('CODES', 'TRIALS', 'code_names')

#: Beside the campaign's own settings; the basis must have no more functions than the labelled crystal has atoms.
ONE_STEP = {'functions_per_element': 8, 'max_epochs': 1, 'test_fraction': 0.0, 'weighting': 'uniform'}
LARGEST_ORDER = 2
#: Nothing of a walker but that it walks, with thresholds that no grade reaches: the potential is good for nothing.
TEN_STEPS = {
    'steps': 10,
    'grade_stride': 5,
    'samples': 2,
    'timestep': 0.1,
    'collect_grade': 1e9,
    'halt_grade': 1e10,
}
#: Displaced at random: dynamics and normal modes of a potential that is good for nothing may fail.
TWO_CANDIDATES = {'count': 2, 'shares': {'rattle': 1.0}}

#: Where `pace-evaluate --version` and the like write.
VERSION_FILE = 'version.txt'
#: Exit status of the calculations that choose or make frames, when they ran but there are none.
NOTHING_FOUND = PaceSelectCalculation.exit_codes.ERROR_SELECTION_EMPTY.status


class PacemakerTrial(JobTrial):
    """One step of the fit on one frame, with whatever fits in the campaign."""

    name = 'pacemaker'
    engine = '`pacemaker`, or `pace-fit-linear` with `evaluator: linear`'
    port = 'train.fit.code'
    more_ports = ('initial.basis.code',)
    process = PaceTrainCalculation
    own = ('datasets', 'potential')
    makes = 'potential'
    outputs = (PaceTrainCalculation.FILENAME_STDOUT,)
    remedies = (
        (
            r'tensorpot|tensorflow|keras',
            'install tensorpotential beside pacemaker, in the same environment, or train with `evaluator: linear` and '
            'the code `pace-fit-linear`',
        ),
    )

    def inputs(self, given: Inputs, made: Inputs) -> dict[str, t.Any]:
        """Return the campaign's settings with a small basis and one step."""
        config = TrainingConfig.model_validate(given['parameters'].get_dict())
        dataset = made['training']
        changed = {
            **ONE_STEP,
            'order': min(config.order, LARGEST_ORDER),
            'reference_energies': dict.fromkeys(dataset.elements, 0.0),
        }
        return {'datasets': {'check': dataset}, 'parameters': orm.Dict({**config.model_dump(), **changed})}

    def inspect(self, node: orm.CalcJobNode) -> str:
        """See whether there is a potential; that its yace lacks is the fault of another code."""
        if 'potential' not in node.outputs:
            finished(node)
        return f'fitted one frame with `evaluator: {node.inputs.parameters["evaluator"]}`'

    def versions(self, node: orm.CalcJobNode) -> list[tuple[str, str]]:
        """Return the log of whatever fitted."""
        log = text_of(node, PaceTrainCalculation.FILENAME_LOG)
        if node.inputs.parameters['evaluator'] == 'linear':
            return [('pace-fit-linear', log)]
        return [('python-ace', log), ('tensorpotential', log)]


class YaceTrial(Trial):
    """The conversion of the potential that the fit made."""

    name = 'pace_yaml2yace'
    engine = '`pace_yaml2yace`'
    port = 'train.fit.yace_code'
    host = PacemakerTrial.name
    outputs = (PaceTrainCalculation.FILENAME_STDOUT_YACE,)

    def judge(self, node: orm.CalcJobNode) -> Check:
        """Return that there is nothing to convert, or what came of it."""
        if 'potential' not in node.outputs:
            return Check(self.name, 'skipped', 'there is no potential to convert', remedy='Fix the training first.')
        return super().judge(node)

    def inspect(self, node: orm.CalcJobNode) -> str:
        """See whether the potential has its yace."""
        if not node.outputs.potential.has_yace:
            raise TrialError(cause_of(node))
        return 'converted the potential'


class ActiveSetTrial(JobTrial):
    """The active set of the potential that the fit made."""

    name = 'pace_activeset'
    engine = '`pace_activeset`'
    port = 'train.active_set.code'
    process = PaceActiveSetCalculation
    own = ('datasets', 'potential')
    makes = 'active_set'
    awaits = 'potential'
    outputs = (PaceActiveSetCalculation.FILENAME_OUTPUT,)

    def inputs(self, given: Inputs, made: Inputs) -> dict[str, t.Any]:
        """Return the frame of the fit, and the potential."""
        return {'datasets': {'check': made['training']}, 'potential': made['potential']}

    def inspect(self, node: orm.CalcJobNode) -> str:
        """Count the environments that were chosen."""
        finished(node)
        ranks = ', '.join(f'{count} for {element}' for element, count in node.outputs.active_set.ranks.items())
        return f'chose environments: {ranks}'


class EngineTrial(JobTrial):
    """The trial of one of our programs that take frames, a potential and an active set."""

    process: t.ClassVar[type[PaceEngineCalcJob]]

    def __init_subclass__(cls) -> None:
        """Tell what follows from the calculation."""
        program = cls.process.PROGRAM
        cls.name, cls.engine = program.replace('-', '_'), f'`{program}`'
        cls.outputs = (cls.process.filename_stderr(), f'{program}.out')

    def inputs(self, given: Inputs, made: Inputs) -> dict[str, t.Any]:
        """Return two frames, the potential and the active set."""
        return {'dataset': made['pool'], 'potential': made['potential'], 'active_set': made['active_set']}

    def options(self, given: Inputs) -> dict[str, t.Any]:
        """Have the program asked for its version, which it does not tell, and all that it prints retrieved."""
        options = given.get('metadata', {}).get('options', {})
        retrieved = [*options.get('additional_retrieve_list', ()), self.outputs[-1]]
        code = given['code']
        if not isinstance(code, orm.InstalledCode) or isinstance(code, orm.ContainerizedCode):
            return {'additional_retrieve_list': retrieved}
        ask = f'{shlex.quote(str(code.filepath_executable))} --version > {VERSION_FILE} 2>&1'
        return {
            'additional_retrieve_list': [*retrieved, VERSION_FILE],
            'append_text': f'{options.get("append_text", "")}\n{ask}'.strip(),
        }

    def inspect(self, node: orm.CalcJobNode) -> str:
        """See whether the program ran; that it found nothing, in frames that mean nothing, is no fault."""
        finished(node, allowed=NOTHING_FOUND)
        return 'ran to its end'

    def versions(self, node: orm.CalcJobNode) -> list[tuple[str, str]]:
        """Return what the program answered."""
        return [(self.process.PROGRAM, text_of(node, VERSION_FILE))]


class SwarmTrial(EngineTrial):
    """Two candidates per frame."""

    port = 'select.swarm.code'
    process = PaceSwarmCalculation
    own = ('datasets', 'indices', 'potential', 'active_set', 'seed')

    def inputs(self, given: Inputs, made: Inputs) -> dict[str, t.Any]:
        """Return the campaign's settings with two displacements at random."""
        parameters = {**given['parameters'].get_dict(), **TWO_CANDIDATES}
        inputs = super().inputs(given, made)
        datasets = {'check': inputs.pop('dataset')}
        return {**inputs, 'datasets': datasets, 'parameters': orm.Dict(parameters), 'seed': orm.Int(1)}


class EmbedTrial(EngineTrial):
    """Frames that are small enough already."""

    port = 'select.embed.code'
    process = PaceEmbedCalculation
    own = ('dataset', 'potential', 'active_set')
    is_optional = True  # a campaign of small cells needs none

    def inputs(self, given: Inputs, made: Inputs) -> dict[str, t.Any]:
        """Return the campaign's settings with boxes that hold all atoms."""
        parameters = {**given['parameters'].get_dict(), 'max_dft_atoms': made['pool'].atoms_count}
        return {**super().inputs(given, made), 'parameters': orm.Dict(parameters)}


class SelectTrial(EngineTrial):
    """One frame out of two."""

    port = 'select.maxvol.code'
    more_ports = ('initial.maxvol.code',)
    process = PaceSelectCalculation
    own = ('dataset', 'potential', 'active_set', 'candidates', 'max_frames')

    def inputs(self, given: Inputs, made: Inputs) -> dict[str, t.Any]:
        """Return a limit of one frame."""
        return {**super().inputs(given, made), 'max_frames': orm.Int(1)}


class EvaluateTrial(EngineTrial):
    """The grade of two frames."""

    port = 'evaluate.code'
    process = PaceEvaluateCalculation
    own = ('dataset', 'potential', 'active_set', 'posterior')
    awaits = 'active_set'

    def inspect(self, node: orm.CalcJobNode) -> str:
        """See whether the grade is a number."""
        finished(node)
        return live_grade(node)


class LammpsTrial(JobTrial):
    """Ten steps of molecular dynamics."""

    name = 'lammps'
    engine = 'LAMMPS with ML-PACE, or `pace-lmp`'
    port = 'explore.lammps.code'
    process = PaceLammpsCalculation
    own = ('structure', 'potential', 'active_set', 'seed')
    awaits = 'active_set'
    outputs = (PaceLammpsCalculation.FILENAME_OUTPUT,)

    def inputs(self, given: Inputs, made: Inputs) -> dict[str, t.Any]:
        """Return the campaign's settings with ten steps that no grade halts."""
        parameters = {**given['parameters'].get_dict(), **TEN_STEPS}
        parameters.pop('collect_stride', None)
        return {
            'structure': made['structure'],
            'potential': made['potential'],
            'active_set': made['active_set'],
            'parameters': orm.Dict(parameters),
            'seed': orm.Int(1),
        }

    def inspect(self, node: orm.CalcJobNode) -> str:
        """See whether LAMMPS computes the grade: builds before November 2023 do not."""
        finished(node)
        return f'{live_grade(node)} in LAMMPS ({node.outputs.output_parameters["lammps_version"]})'

    def versions(self, node: orm.CalcJobNode) -> list[tuple[str, str]]:
        """Return the log; with `pace-lmp` the grade does not come from LAMMPS, and any LAMMPS will do."""
        log = text_of(node, PaceLammpsCalculation.FILENAME_LOG)
        return [('pace-lmp' if '\npace-lmp ' in log else 'LAMMPS', log)]


#: In the order of checking.
TRIALS: tuple[Trial, ...] = (
    *(labeller.trial for labeller in LABELLERS.values()),
    PacemakerTrial(),
    YaceTrial(),
    ActiveSetTrial(),
    SwarmTrial(),
    EmbedTrial(),
    SelectTrial(),
    EvaluateTrial(),
    LammpsTrial(),
)
#: The codes of a campaign by name, and the ports that each fills.
CODES: dict[str, tuple[str, ...]] = {trial.name: trial.ports for trial in TRIALS}


def code_names(labeller: type[Labeller]) -> list[str]:
    """Return the names of the codes of a campaign with this labeller, in the order of checking."""
    return [trial.name for trial in TRIALS if not isinstance(trial, LabelTrial) or trial is labeller.trial]
