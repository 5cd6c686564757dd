"""What a trial of a code is: where its inputs come from, what it runs, and how the answer becomes a verdict."""

from __future__ import annotations

import dataclasses
import math
import re
import typing as t
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence

from aiida import orm
from aiida.engine import CalcJob

from aiida_pace.formats.versions import judge_version
from aiida_pace.workflows.graph import cause_of

__all__ = (
    'Check',
    'Inputs',
    'JobTrial',
    'LabelTrial',
    'Remedies',
    'Trial',
    'TrialError',
    'finished',
    'inputs_at',
    'live_grade',
    'text_of',
)

Inputs = Mapping[str, t.Any]
#: Pairs of a regular expression and what helps when it is found in the fault or the last words; the first that fits.
Remedies = tuple[tuple[str, str], ...]

#: MPI that does not start the code; it goes on to speak of other things.
LAUNCHER = r'attempt to run as root|not enough slots|(?:mpirun|mpiexec|srun): (?:command )?not found'

#: Remedies for faults that any code may have; those of the trial come first.
REMEDIES: Remedies = (
    (
        LAUNCHER,
        'correct the `mpirun_command` of the computer or the `resources` of the job, or run without MPI: '
        '`"withmpi": false` in `metadata.options`',
    ),
    (
        r'No module named|ImportError|ModuleNotFoundError',
        'install what is missing in the environment of the code; `unset PYTHONPATH` in its `prepend_text` keeps that '
        'of AiiDA out',
    ),
    (
        r'error while loading shared libraries|cannot open shared object',
        'load the modules that the code was built with in its `prepend_text`',
    ),
    (
        r'[Nn]o such file|not found|[Pp]ermission denied|cannot execute',
        'correct `filepath_executable` of the code, or load its modules in its `prepend_text`',
    ),
    (
        r'\bKilled\b|\boom.kill|[Oo]ut of memory|[Cc]annot allocate memory|bad_alloc|MemoryError',
        'give the job more memory in `metadata.options`',
    ),
)


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


class TrialError(Exception):
    """A code failed on trial; the message says how, in one sentence."""


class Trial(ABC):
    """How one code of a campaign is tried; a trial holds no state."""

    #: Name of the code, a key of the ``codes`` of `ActiveLearningWorkChain.get_builder_from_protocol`.
    name: t.ClassVar[str]
    #: The executable that the code must run.
    engine: t.ClassVar[str]
    #: The port of a campaign that the code fills; the other inputs of its calculation stand in the same namespace.
    port: t.ClassVar[str]
    #: Further ports of a campaign that the code fills.
    more_ports: t.ClassVar[tuple[str, ...]] = ()
    #: Name of the trial in whose job the code runs; empty for a code that has a job of its own.
    host: t.ClassVar[str] = ''
    #: Retrieved files that hold the last words of the code, the most telling one first, beside the `output_filename`.
    outputs: t.ClassVar[tuple[str, ...]] = ()
    #: Remedies for the faults of this code alone.
    remedies: t.ClassVar[Remedies] = ()

    @property
    def namespace(self) -> str:
        """Where the inputs of the calculation stand among those of a campaign."""
        return self.port.rpartition('.')[0]

    @property
    def code_port(self) -> str:
        """Name of the port of the code in the `namespace`."""
        return self.port.rpartition('.')[2]

    @property
    def ports(self) -> tuple[str, ...]:
        """All ports of a campaign that the code fills."""
        return (self.port, *self.more_ports)

    def given(self, campaign: Inputs) -> Inputs | None:
        """Return what a campaign gives to the calculation of this code; None when it does not give the code."""
        given = inputs_at(campaign, self.namespace)
        return given if self.code_port in given else None

    @abstractmethod
    def inspect(self, node: orm.CalcJobNode) -> str:
        """Return in one clause what a good job shows.

        :raises TrialError: when the job is not good.
        """

    def versions(self, node: orm.CalcJobNode) -> Iterable[tuple[str, str]]:
        """Return the engines that tell their version, keys of `formats.versions.REQUIREMENTS`, and the text with it."""
        return ()

    def judge(self, node: orm.CalcJobNode) -> Check:
        """Return what came of the job ``node``."""
        try:
            found = self.inspect(node)
        except TrialError as error:
            return self._failed(node, str(error))
        verdicts = {engine: judge_version(engine, text) for engine, text in self.versions(node)}
        version = ', '.join(f'{engine} {verdict.version}' for engine, verdict in verdicts.items() if verdict.version)
        for status in ('failed', 'warning'):
            for verdict in verdicts.values():
                if verdict.status == status:
                    return Check(self.name, verdict.status, found, version, f'{verdict.remark}.', node.uuid)
        return Check(self.name, 'ok', found, version, '', node.uuid)

    def printed(self, node: orm.CalcJobNode) -> tuple[str, str]:
        """Return what the code, or the shell in its place, printed, and the name of the retrieved file with it."""
        names: list[str | None] = list(self.outputs)
        if not self.host:
            names = [node.get_option('scheduler_stderr'), *names, node.get_option('output_filename')]
        for name in filter(None, names):
            if text := text_of(node, name).strip():
                return text, name
        return '', ''

    def _failed(self, node: orm.CalcJobNode, fault: str) -> Check:
        """Return a failed check that names the executable and its last words, with a remedy that fits these."""
        code = node.inputs[self.code_port]
        text, filename = self.printed(node)
        words = _telling_line(text)
        found = f'{fault.rstrip(".")}; the executable is `{code.get_executable()}`'
        if not words or words not in fault:
            found += f', it printed "{words}"' if words else ', it printed nothing'
        remedy = next(
            (remedy for pattern, remedy in (*self.remedies, *REMEDIES) if re.search(pattern, f'{fault}\n{words}')),
            f'make sure that the code `{code.full_label}` runs {self.engine}',
        )
        where = f'verdi calcjob outputcat {node.pk} {filename}' if filename else f'verdi process report {node.pk}'
        remedy = f'{remedy[:1].upper()}{remedy[1:]}; details: `{where}`.'
        return Check(self.name, 'failed', found, '', remedy, node.uuid)


class JobTrial(Trial):
    """The trial of a code in a job of its own, with the inputs of the campaign made tiny."""

    #: What is run.
    process: t.ClassVar[type[CalcJob]]
    #: Ports that the check fills itself.
    own: t.ClassVar[tuple[str, ...]]
    #: Whether there are campaigns without this code.
    is_optional: t.ClassVar[bool] = False
    #: Of what the check starts with as placeholders, what this job makes.
    makes: t.ClassVar[t.Literal['', 'potential', 'active_set']] = ''
    #: Which of these this job waits for.
    awaits: t.ClassVar[t.Literal['', 'potential', 'active_set']] = ''

    @abstractmethod
    def inputs(self, given: Inputs, made: Inputs) -> dict[str, t.Any]:
        """Return the inputs that differ from those of the campaign.

        :param given: what the campaign gives to this calculation.
        :param made: the nodes made for the check: ``training``, ``pool``, ``structure``, ``cell``, ``potential``,
            ``active_set``.
        """

    def options(self, given: Inputs) -> dict[str, t.Any]:
        """Return the ``metadata.options`` that differ from those of the campaign."""
        return {}

    def job_inputs(self, given: Inputs, made: Inputs) -> dict[str, t.Any]:
        """Return all inputs of the job; the options are those of the campaign, so that what refuses them shows now.

        The cache is not asked: its answer would be that of another day.

        :param given: see `inputs`.
        :param made: see `inputs`.
        """
        metadata = given.get('metadata', {})
        options = {**metadata.get('options', {}), **self.options(given)}
        return {
            **given,
            **self.inputs(given, made),
            'metadata': {**metadata, 'options': options, 'disable_cache': True},
        }


class LabelTrial(JobTrial):
    """The trial of a code that labels: a campaign gives one of them."""

    is_optional = True

    @abstractmethod
    def cover(self, given: Inputs, elements: Sequence[str]) -> tuple[list[str], Check | None]:
        """Return which of the ``elements`` can be labelled, and the check of what that needs, if it needs anything."""


def inputs_at(inputs: Inputs, path: str) -> Inputs:
    """Return the inputs in the namespace ``path``, its parts joined by dots; empty when there is no such namespace."""
    for name in path.split('.'):
        inputs = inputs.get(name, {})
    return inputs


def text_of(node: orm.CalcJobNode, name: str) -> str:
    """Return the text of a retrieved file, empty when there is none."""
    if 'retrieved' not in node.outputs:
        return ''
    repository = node.outputs.retrieved.base.repository
    if name not in repository.list_object_names():
        return ''
    return t.cast(bytes, repository.get_object_content(name, mode='rb')).decode(errors='replace')


def _telling_line(text: str) -> str:
    """Return why the launcher did not start a code, or else the last line with a word on it; empty without any."""
    lines = [line.strip() for line in text.splitlines() if re.search(r'\w', line)]
    return next((line for line in lines if re.search(LAUNCHER, line)), lines[-1] if lines else '')


def finished(node: orm.CalcJobNode, *, allowed: int = 0) -> None:
    """Refuse a job that did not end well.

    :param allowed: an exit status that is good, too.
    :raises TrialError: with the cause, but without the advice after its last semicolon: that is for real jobs, and
        asks for more time or memory.
    """
    if not node.is_finished_ok and (not allowed or node.exit_status != allowed):
        cause = cause_of(node)
        raise TrialError(cause.rpartition('; ')[0] or cause)


def live_grade(node: orm.CalcJobNode) -> str:
    """Return the extrapolation grade that a job tells.

    :raises TrialError: when it is no number above 0.
    """
    grade = node.outputs.output_parameters['max_grade']
    if not 0 < grade < math.inf:
        raise TrialError(f'the extrapolation grade is {grade}, but it must be a number above 0')
    return f'extrapolation grade {grade:.2f}'
