"""What came of the jobs of a pre-flight check: from a finished process to a verdict with a remedy."""

from __future__ import annotations

import dataclasses
import math
import re
import typing as t
from collections.abc import Callable, Iterable

from aiida import orm

from aiida_pace.calculations.active_set import PaceActiveSetCalculation
from aiida_pace.calculations.embed import PaceEmbedCalculation
from aiida_pace.calculations.evaluate import PaceEvaluateCalculation
from aiida_pace.calculations.lammps import PaceLammpsCalculation
from aiida_pace.calculations.select import PaceSelectCalculation
from aiida_pace.calculations.swarm import PaceSwarmCalculation
from aiida_pace.calculations.train import PaceTrainCalculation
from aiida_pace.formats.versions import judge_version
from aiida_pace.workflows.graph import cause_of

__all__ = ('VERSION_FILE', 'Check', 'judge', 'judge_yace')

#: Exit status of the calculations that choose or make frames, when they ran but there are none.
NOTHING_FOUND = PaceSelectCalculation.exit_codes.ERROR_SELECTION_EMPTY.status

#: Where `pace-evaluate --version` and the like write.
VERSION_FILE = 'version.txt'

#: What a cause says, and what helps then; the first that fits is taken.
REMEDIES = (
    (r'tensorpot|tensorflow|keras', 'install tensorpotential beside pacemaker, in the same environment, or train '
     'with `evaluator: linear` and the code `pace-fit-linear`'),
    (r"No module named|ImportError|ModuleNotFoundError", 'install what is missing in the environment of the code; '
     '`unset PYTHONPATH` in its `prepend_text` keeps that of AiiDA out'),
    (r'error while loading shared libraries|cannot open shared object', 'load the modules that the code was built '
     'with in its `prepend_text`'),
    (r'[Nn]o such file|not found|[Pp]ermission denied|cannot execute', 'correct `filepath_executable` of the code, or '
     'load its modules in its `prepend_text`'),
    (r'memory|MEMORY|Killed', 'give the job more memory in `metadata.options`'),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Check:
    """One check.

    :param status: `skipped` when what it needs has failed.
    :param found: what was found, in one clause.
    :param version: the engines with their versions, as they print them; empty when they do not.
    :param remedy: one sentence, empty when all is well.
    :param process: UUID of the job, empty without one.
    """

    name: str
    status: t.Literal['ok', 'warning', 'failed', 'skipped']
    found: str
    version: str = ''
    remedy: str = ''
    process: str = ''


def judge(name: str, node: orm.CalcJobNode) -> Check:
    """Return what came of the job ``node`` of the code ``name``, a key of `protocols.CODES`."""
    judged, fault = JUDGES[name](node)
    if fault is not None:
        return _failed(name, node, fault)
    versions = {engine: judge_version(engine, text) for engine, text in _engines(name, node)}
    version = ', '.join(f'{engine} {verdict.version}' for engine, verdict in versions.items() if verdict.version)
    for status in ('failed', 'warning'):
        for verdict in versions.values():
            if verdict.status == status:
                return Check(name, verdict.status, judged, version, f'{verdict.remark}.', node.uuid)
    return Check(name, 'ok', judged, version, '', node.uuid)


def judge_yace(node: orm.CalcJobNode) -> Check:
    """Return what came of ``pace_yaml2yace``, which runs in the job of the training."""
    name = 'pace_yaml2yace'
    if 'potential' not in node.outputs:
        return Check(name, 'skipped', 'there is no potential to convert', remedy='Mend the training first.')
    if node.outputs.potential.has_yace:
        return Check(name, 'ok', 'converted the potential', process=node.uuid)
    return _failed(name, node, cause_of(node), PaceTrainCalculation.FILENAME_STDOUT_YACE)


def _failed(name: str, node: orm.CalcJobNode, fault: str, filename: str | None = None) -> Check:
    """Return a failed check whose remedy fits the fault, or else points to the job."""
    words = _last_words(node, filename)
    found = fault if words in fault else f'{fault} Last words: "{words}"'
    remedy = next((text for pattern, text in REMEDIES if re.search(pattern, found)), '')
    remedy = f'{remedy[:1].upper()}{remedy[1:]}; details' if remedy else 'Details'
    return Check(name, 'failed', found, '', f'{remedy}: `verdi calcjob outputcat {node.pk}`.', node.uuid)


def _text(node: orm.CalcJobNode, *names: str | None) -> str:
    """Return the text of the first of the retrieved files that has any."""
    if 'retrieved' not in node.outputs:
        return ''
    repository = node.outputs.retrieved.base.repository
    present = repository.list_object_names()
    texts = (
        repository.get_object_content(name, mode='rb').decode(errors='replace') for name in names if name in present
    )
    return next((text for text in texts if text.strip()), '')


def _last_words(node: orm.CalcJobNode, filename: str | None = None) -> str:
    """Return the last line that the code, or the shell in its place, wrote."""
    options = [node.get_option(option) for option in ('scheduler_stderr', 'output_filename')]
    text = _text(node, filename) if filename else _text(node, options[0], *OUTPUTS.values(), options[1])
    return (text.strip().splitlines() or ['nothing'])[-1].strip()


def _judge_pw(node: orm.CalcJobNode) -> tuple[str, str | None]:
    if 'Program PWSCF' not in _text(node, node.get_option('output_filename')):
        return '', 'the code wrote no line `Program PWSCF`: it did not start, or it is no pw.x.'
    if not node.is_finished_ok:
        return '', cause_of(node)
    elements = ', '.join(sorted(node.inputs.structure.get_symbols_set()))
    return f'read the pseudopotentials of {elements}, made one iteration', None


def _judge_training(node: orm.CalcJobNode) -> tuple[str, str | None]:
    if 'potential' not in node.outputs:
        return '', cause_of(node)
    return f'fitted one frame with `evaluator: {node.inputs.parameters["evaluator"]}`', None


def _judge_active_set(node: orm.CalcJobNode) -> tuple[str, str | None]:
    if not node.is_finished_ok:
        return '', cause_of(node)
    ranks = ', '.join(f'{count} for {element}' for element, count in node.outputs.active_set.ranks.items())
    return f'chose environments: {ranks}', None


def _judge_evaluation(node: orm.CalcJobNode) -> tuple[str, str | None]:
    if not node.is_finished_ok:
        return '', cause_of(node)
    return _judge_grade(node)


def _judge_selection(node: orm.CalcJobNode) -> tuple[str, str | None]:
    """Say that the code ran; that it found nothing, in frames that mean nothing, is no fault."""
    if not node.is_finished_ok and node.exit_status != NOTHING_FOUND:
        return '', cause_of(node)
    return 'ran to its end', None


def _judge_lammps(node: orm.CalcJobNode) -> tuple[str, str | None]:
    if not node.is_finished_ok:
        return '', cause_of(node)
    found, fault = _judge_grade(node)
    version = node.outputs.output_parameters['lammps_version']
    return f'{found} in LAMMPS ({version})', fault


def _judge_grade(node: orm.CalcJobNode) -> tuple[str, str | None]:
    grade = node.outputs.output_parameters['max_grade']
    if not 0 < grade < math.inf:
        return '', f'the extrapolation grade is {grade}, but it must be a number above 0.'
    return f'extrapolation grade {grade:.2f}', None


#: By code: what came of its job in one clause, and what is wrong, or None.
JUDGES: dict[str, Callable[[orm.CalcJobNode], tuple[str, str | None]]] = {
    'pw': _judge_pw,
    'pacemaker': _judge_training,
    'pace_activeset': _judge_active_set,
    'pace_swarm': _judge_selection,
    'pace_embed': _judge_selection,
    'pace_select': _judge_selection,
    'pace_evaluate': _judge_evaluation,
    'lammps': _judge_lammps,
}
#: By code: the file with its last words.
OUTPUTS = {
    'pacemaker': PaceTrainCalculation.FILENAME_STDOUT,
    'pace_activeset': PaceActiveSetCalculation.FILENAME_OUTPUT,
    'pace_swarm': PaceSwarmCalculation.filename_stderr(),
    'pace_embed': PaceEmbedCalculation.filename_stderr(),
    'pace_evaluate': PaceEvaluateCalculation.filename_stderr(),
    'pace_select': PaceSelectCalculation.filename_stderr(),
    'lammps': PaceLammpsCalculation.FILENAME_OUTPUT,
}


def _engines(name: str, node: orm.CalcJobNode) -> Iterable[tuple[str, str]]:
    """Return the engines behind the code ``name`` that tell their version, and the text in which they do."""
    if name == 'pw':
        return [('pw.x', _text(node, node.get_option('output_filename')))]
    if name == 'pacemaker':
        log = _text(node, PaceTrainCalculation.FILENAME_LOG)
        if node.inputs.parameters['evaluator'] == 'linear':
            return [('pace-fit-linear', log)]
        return [('python-ace', log), ('tensorpotential', log)]
    if name in ('pace_evaluate', 'pace_swarm', 'pace_embed', 'pace_select'):
        return [(name.replace('_', '-'), _text(node, VERSION_FILE))]
    if name == 'lammps':
        log = _text(node, PaceLammpsCalculation.FILENAME_LOG)
        # With `pace-lmp` the grade does not come from LAMMPS: any LAMMPS will do.
        return [('pace-lmp', log)] if '\npace-lmp ' in log else [('LAMMPS', log)]
    return []
