"""Pre-flight: know that a campaign can run before any DFT is spent on it."""

from __future__ import annotations

import dataclasses
import functools
import operator
import typing as t
from collections.abc import Iterable, Iterator, Mapping

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ExitCode
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_pace.calculations.functions.check import (
    collect_checks,
    make_check_structures,
    make_placeholder_active_set,
    make_placeholder_potential,
)
from aiida_pace.config import TrainingConfig
from aiida_pace.formats.text import printable_values
from aiida_pace.workflows.check.computers import check_computer
from aiida_pace.workflows.check.trial import Check, Inputs, JobTrial, LabelTrial, Trial
from aiida_pace.workflows.check.trials import CODES, TRIALS
from aiida_pace.workflows.resumable import ResumableWorkChain, labelled
from aiida_pace.workflows.validators import validate_elements

__all__ = ('CheckWorkChain', 'check_inputs')

#: First words of the names of checks of a computer.
COMPUTER_CHECKS = ('computer', 'scheduler', 'disk')
#: What was true another day is no answer.
NO_CACHE = {'disable_cache': True}


class CheckWorkChain(ResumableWorkChain):
    """Run every code of a campaign once on something tiny, where and as the campaign will run it.

    In turn: the computers are asked for their schedulers, disks and executables; the labels are tried on a small cell
    and the training with one step on one frame, while what makes and chooses candidates is tried on a placeholder
    potential; the active set of the trained potential is built; its grade is looked at in ``pace-evaluate`` and LAMMPS,
    or that of the placeholder when there is none, so that no failure hides another. The jobs have the options of the
    campaign. Nothing is taken from AiiDA's cache: an answer of another day would tell nothing. The `Trial` of a code
    says how it is tried.
    """

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        """Define the process specification."""
        super().define(spec)
        spec.input(
            'elements',
            valid_type=orm.List,
            validator=validate_elements,
            help='Chemical symbols of the campaign: the code of the labels must support them, and the tiny inputs '
            'contain them.',
        )
        for trial in _job_trials():
            options: dict[str, t.Any] = {'help': f'Code `{trial.name}`, with the settings of the campaign.'}
            if trial.is_optional:
                options |= {'required': False, 'populate_defaults': False}
            spec.expose_inputs(trial.process, namespace=trial.namespace, exclude=trial.own, namespace_options=options)
            _ports(spec, trial)[trial.code_port].required = True
        steps: t.Any = cls  # for `outline`, steps are functions of any work chain
        spec.outline(
            steps.check_computers,
            steps.look_at_elements,
            steps.make_check_structures,
            steps.make_placeholders,
            steps.run_engines,
            steps.run_active_set,
            steps.run_grades,
            steps.results,
        )
        spec.output(
            'output_parameters',
            valid_type=orm.Dict,
            help='`checks`: for each the `name`, `status` (ok, warning, failed, skipped), what was `found`, '
            '`version`, `remedy` and `process` (UUID of its job); `status` of the worst; numbers of `ok`, '
            '`warning`, `failed`, `skipped`.',
        )
        spec.exit_code(
            410,
            'ERROR_COMPUTER_UNFIT',
            message='failed checks: {count} ({names}); first `{name}`: {found}. {remedy}',
        )
        spec.exit_code(
            411,
            'ERROR_PSEUDOS_MISSING',
            message='failed checks: {count} ({names}); first `{name}`: {found}. {remedy}',
        )
        spec.exit_code(
            412,
            'ERROR_ENGINE_FAILED',
            message='failed checks: {count} ({names}); first `{name}`: {found}. {remedy}',
        )

    def check_computers(self) -> None:
        """Ask every computer, over one connection each, whether jobs can go there."""
        self.ctx.checks, self.ctx.faults = [], {}
        self.ctx.jobs = AttributeDict()
        computers: dict[str, orm.Computer] = {}
        codes: dict[str, dict[str, orm.AbstractCode]] = {}
        for trial, given in self._given():
            code = given[trial.code_port]
            # A portable code comes along with its job, to the computer of the job.
            computer = code.computer or given.get('metadata', {}).get('computer')
            if computer is not None:
                computers[computer.uuid] = computer
                codes.setdefault(computer.uuid, {})[trial.name] = code
        for uuid, computer in computers.items():
            checks, faults = check_computer(computer, codes[uuid])
            self._add(*checks)
            self.ctx.faults |= faults

    def look_at_elements(self) -> None:
        """See which elements can be labelled."""
        self.ctx.covered = []
        for trial, given in self._given():
            if isinstance(trial, LabelTrial):
                self.ctx.covered, check = trial.cover(given, self.inputs.elements.get_list())
                if check is not None:
                    self._add(check)
                if not self.ctx.covered:
                    self.ctx.faults.setdefault(trial.name, 'none of the elements can be labelled')

    def make_check_structures(self) -> None:
        """Make what the engines are tried on."""
        config = TrainingConfig.model_validate(self.inputs.train.fit.parameters.get_dict())
        self.ctx.cutoff = orm.Float(config.cutoff)
        self.ctx.made = dict(
            make_check_structures(  # type: ignore[call-arg]
                elements=self.inputs.elements,
                covered=orm.List(self.ctx.covered),
                cutoff=self.ctx.cutoff,
                metadata={'call_link_label': 'make_check_structures', **NO_CACHE},
            )
        )

    def make_placeholders(self) -> None:
        """Make a potential and an active set for what shall not wait for the training."""
        metadata = {'call_link_label': 'make_placeholder_potential', **NO_CACHE}
        potential = make_placeholder_potential(elements=self.inputs.elements, cutoff=self.ctx.cutoff, metadata=metadata)  # type: ignore[call-arg]
        metadata = {'call_link_label': 'make_placeholder_active_set', **NO_CACHE}
        self.ctx.made['potential'] = potential
        self.ctx.made['active_set'] = make_placeholder_active_set(potential, metadata=metadata)  # type: ignore[call-arg]
        self.ctx.placeholders = dict(self.ctx.made)

    def run_engines(self) -> None:
        """Start the label, the training, and what makes and chooses candidates."""
        self._run(awaits='')

    def run_active_set(self) -> None:
        """Start building the active set of the trained potential, or else of the placeholder."""
        self._take('potential')
        self._run(awaits='potential')

    def run_grades(self) -> None:
        """Start what looks at the grade."""
        if not self._take('active_set'):
            self.ctx.made = self.ctx.placeholders
        self._run(awaits='active_set')

    def results(self) -> ExitCode | None:
        """Judge the jobs, attach the checks, and fail when one of them did."""
        for trial, _ in self._given():
            job = self.ctx.jobs.get(trial.host or trial.name)
            is_run = job is not None and trial.name not in self.ctx.faults
            self._add(trial.judge(job) if is_run else self._not_run(trial))
        metadata = {'call_link_label': 'collect_checks', **NO_CACHE}
        self.out('output_parameters', collect_checks(orm.List(self.ctx.checks), metadata=metadata))  # type: ignore[call-arg]
        failed = [check for check in self.ctx.checks if check['status'] == 'failed']
        for check in self.ctx.checks:
            if check['status'] in ('failed', 'warning'):
                self.report(f'{check["name"]} {check["status"]}: {check["found"]}. {check["remedy"]}')
        return self._exit_code(failed) if failed else None

    def _exit_code(self, failed: list[dict[str, str]]) -> ExitCode:
        """Return the exit code of the first failure, with the names of all."""
        first, names = failed[0], ', '.join(check['name'] for check in failed)
        code = self.exit_codes.ERROR_PSEUDOS_MISSING
        if first['name'] in CODES:
            code = self.exit_codes.ERROR_ENGINE_FAILED
        elif first['name'].partition(' ')[0] in COMPUTER_CHECKS:
            code = self.exit_codes.ERROR_COMPUTER_UNFIT
        return code.format(  # type: ignore[no-any-return]
            count=len(failed),
            names=names,
            name=first['name'],
            found=first['found'].rstrip('.'),
            remedy=first['remedy'],
        )

    def _not_run(self, trial: Trial) -> Check:
        """Return the check of a code whose job was not started."""
        fault = self.ctx.faults.get(trial.name) or self.ctx.faults.get(trial.host, '')
        if 'has no executable' in fault and trial.name in self.ctx.faults:
            return Check(trial.name, 'failed', fault, remedy='Install it there, or give another code.')
        return Check(trial.name, 'skipped', fault, remedy='Fix that first.')

    def _take(self, output: str) -> bool:
        """Take ``output`` from the job that makes it, if it did; return whether it did."""
        job = next(self.ctx.jobs.get(trial.name) for trial in _job_trials() if trial.makes == output)
        if job is None or output not in job.outputs:
            return False
        self.ctx.made = {**self.ctx.made, output: job.outputs[output]}
        return True

    def _run(self, *, awaits: str) -> None:
        """Start the jobs that wait for ``awaits``, but none that cannot run."""
        for trial, given in self._given():
            if isinstance(trial, JobTrial) and trial.awaits == awaits and trial.name not in self.ctx.faults:
                inputs = labelled(trial.name, trial.job_inputs(given, self.ctx.made))
                self.to_context(**{f'jobs.{trial.name}': self.submit(trial.process, inputs)})

    def _given(self) -> Iterator[tuple[Trial, Inputs]]:
        """Yield the trials of the codes that the campaign has, with what it gives to the calculation of each."""
        for trial in TRIALS:
            if (given := trial.given(self.inputs)) is not None:
                yield trial, given

    def _add(self, *checks: Check) -> None:
        """Keep checks, in a form that a checkpoint and the database can hold."""
        self.ctx.checks += [printable_values(dataclasses.asdict(check)) for check in checks]


def check_inputs(campaign: Mapping[str, t.Any], elements: Iterable[str]) -> dict[str, t.Any]:
    """Return the inputs of `CheckWorkChain` for the inputs of a campaign.

    :param campaign: inputs of `ActiveLearningWorkChain`, nested, as a builder or the process itself has them.
    :param elements: chemical symbols of the campaign.
    """
    inputs: dict[str, t.Any] = {'elements': orm.List(sorted(elements))}
    for trial in _job_trials():
        if (given := trial.given(campaign)) is not None:
            ports = _ports(CheckWorkChain.spec(), trial)
            namespace = inputs
            for name in trial.namespace.split('.'):
                namespace = namespace.setdefault(name, {})
            namespace.update({port: value for port, value in given.items() if port in ports})
    return inputs


def _job_trials() -> list[JobTrial]:
    return [trial for trial in TRIALS if isinstance(trial, JobTrial)]


def _ports(spec: t.Any, trial: JobTrial) -> t.Any:
    """Return the namespace of the inputs of the check for what the campaign gives to a calculation."""
    return functools.reduce(operator.getitem, trial.namespace.split('.'), spec.inputs)
