"""Pre-flight: know that a campaign can run before any DFT is spent on it."""

from __future__ import annotations

import dataclasses
import functools
import operator
import typing as t
from collections.abc import Iterable, Mapping

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
from aiida_pace.workflows.check.computers import check_computer
from aiida_pace.workflows.check.jobs import JOBS, NAMESPACES, job_inputs
from aiida_pace.workflows.check.verdicts import Check, judge, judge_yace
from aiida_pace.workflows.resumable import ResumableWorkChain, labelled
from aiida_pace.workflows.validators import validate_elements

__all__ = ('CheckWorkChain', 'check_inputs')

#: What the check itself gives to each calculation.
OWN = {
    'pw': ('structure', 'kpoints', 'parent_folder', 'parallelization'),
    'pacemaker': ('datasets', 'potential'),
    'pace_activeset': ('datasets', 'potential'),
    'pace_swarm': ('dataset', 'potential', 'active_set', 'seed'),
    'pace_embed': ('dataset', 'potential', 'active_set'),
    'pace_evaluate': ('dataset', 'potential', 'active_set'),
    'pace_select': ('dataset', 'potential', 'active_set', 'max_frames'),
    'lammps': ('structure', 'potential', 'active_set', 'seed'),
}
#: First words of the names of checks of a computer.
COMPUTER_CHECKS = ('computer', 'scheduler', 'disk')
#: What was true another day is no answer.
NO_CACHE = {'disable_cache': True}


class CheckWorkChain(ResumableWorkChain):
    """Run every code of a campaign once on something tiny, where and as the campaign will run it.

    In turn: the computers are asked for their schedulers, disks and executables; ``pw.x`` makes one iteration and the
    training one step on one frame, while what makes and chooses candidates is tried on a placeholder potential; the
    active set of the trained potential is built; its grade is looked at in ``pace-evaluate`` and LAMMPS, or that of the
    placeholder when there is none, so that no failure hides another. Nothing is taken from AiiDA's cache: an answer of
    another day would tell nothing.
    """

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        """Define the process specification."""
        super().define(spec)
        spec.input(
            'elements',
            valid_type=orm.List,
            validator=validate_elements,
            help='Chemical symbols of the campaign: they must have pseudopotentials, and the tiny inputs hold them.',
        )
        for name, namespace in NAMESPACES.items():
            spec.expose_inputs(
                JOBS[name],
                namespace=namespace,
                exclude=OWN[name],
                namespace_options={'help': f'Code `{name}`, with the settings that the campaign gives to it.'},
            )
        ports = t.cast(t.Any, spec.inputs)
        ports['label']['pw']['code'].required = True
        ports['select']['embed']['code'].required = False  # a campaign of small cells needs none
        spec.outline(
            cls.check_computers,
            cls.look_for_pseudos,
            cls.make_check_structures,
            cls.make_placeholders,
            cls.run_engines,
            cls.run_active_set,
            cls.run_grades,
            cls.results,
        )
        spec.output(
            'output_parameters',
            valid_type=orm.Dict,
            help='`checks`: of each its `name`, `status` (ok, warning, failed, skipped), what was `found`, `version`, '
            '`remedy` and `process` (UUID of its job); `status` of the worst; numbers of `ok`, `warning`, `failed`, '
            '`skipped`.',
        )
        spec.exit_code(
            410,
            'ERROR_COMPUTER_UNFIT',
            message='{count} checks failed ({names}), first `{name}`: {found}. {remedy}',
        )
        spec.exit_code(
            411,
            'ERROR_PSEUDOS_MISSING',
            message='{count} checks failed ({names}), first `{name}`: {found}. {remedy}',
        )
        spec.exit_code(
            412,
            'ERROR_ENGINE_FAILED',
            message='{count} checks failed ({names}), first `{name}`: {found}. {remedy}',
        )

    def check_computers(self) -> None:
        """Ask every computer, over one connection each, whether jobs can go there."""
        self.ctx.checks, self.ctx.faults = [], {}
        self.ctx.jobs = AttributeDict()
        computers: dict[str, orm.Computer] = {}
        codes: dict[str, dict[str, orm.AbstractCode]] = {}
        for name in NAMESPACES:
            given = self._given(name)
            used = {name: given['code']} if 'code' in given else {}
            if 'yace_code' in given:
                used['pace_yaml2yace'] = given['yace_code']
            for key, code in used.items():
                # A portable code comes along with its job, to the computer of the job.
                computer = code.computer or given.get('metadata', {}).get('computer')
                if computer is not None:
                    computers[computer.uuid] = computer
                    codes.setdefault(computer.uuid, {})[key] = code
        for uuid, computer in computers.items():
            checks, faults = check_computer(computer, codes[uuid])
            self._add(*checks)
            self.ctx.faults |= faults

    def look_for_pseudos(self) -> None:
        """See for which elements there are pseudopotentials."""
        elements = self.inputs.elements.get_list()
        self.ctx.covered = sorted(set(elements) & set(self.inputs.label.pw.get('pseudos', {})))
        if missing := sorted(set(elements) - set(self.ctx.covered)):
            remedy = 'Take a family that has them, or add them to `label.pw.pseudos`, keyed by the element.'
            self._add(Check('pseudopotentials', 'failed', f'there are none for {", ".join(missing)}', remedy=remedy))
        else:
            self._add(Check('pseudopotentials', 'ok', f'there are some for {", ".join(self.ctx.covered)}'))
        if not self.ctx.covered:
            self.ctx.faults.setdefault('pw', 'it has no pseudopotential to read')

    def make_check_structures(self) -> None:
        """Make what the engines are tried on."""
        config = TrainingConfig.model_validate(self.inputs.train.fit.parameters.get_dict())
        self.ctx.cutoff = orm.Float(config.cutoff)
        self.ctx.made = dict(
            make_check_structures(
                elements=self.inputs.elements,
                covered=orm.List(self.ctx.covered),
                cutoff=self.ctx.cutoff,
                metadata={'call_link_label': 'make_check_structures', **NO_CACHE},
            )
        )

    def make_placeholders(self) -> None:
        """Make a potential and an active set for what shall not wait for the training."""
        metadata = {'call_link_label': 'make_placeholder_potential', **NO_CACHE}
        potential = make_placeholder_potential(elements=self.inputs.elements, cutoff=self.ctx.cutoff, metadata=metadata)
        metadata = {'call_link_label': 'make_placeholder_active_set', **NO_CACHE}
        self.ctx.made['potential'] = potential
        self.ctx.made['active_set'] = make_placeholder_active_set(potential, metadata=metadata)
        self.ctx.placeholders = dict(self.ctx.made)

    def run_engines(self) -> None:
        """Start pw.x, the training, and what makes and chooses candidates."""
        self._run('pw', 'pacemaker', 'pace_swarm', 'pace_embed', 'pace_select')

    def run_active_set(self) -> None:
        """Start building the active set of the trained potential, or else of the placeholder."""
        self._take('pacemaker', 'potential')
        self._run('pace_activeset')

    def run_grades(self) -> None:
        """Start what looks at the grade."""
        if not self._take('pace_activeset', 'active_set'):
            self.ctx.made = self.ctx.placeholders
        self._run('pace_evaluate', 'lammps')

    def results(self) -> ExitCode | None:
        """Judge the jobs, attach the checks, and fail when one of them did."""
        for name in NAMESPACES:
            if 'code' not in self._given(name):
                continue
            job = self.ctx.jobs.get(name)
            self._add(self._not_run(name) if job is None else judge(name, job))
            if name == 'pacemaker' and 'yace_code' in self._given(name):
                fault = 'pace_yaml2yace' in self.ctx.faults
                self._add(self._not_run('pace_yaml2yace') if job is None or fault else judge_yace(job))
        metadata = {'call_link_label': 'collect_checks', **NO_CACHE}
        self.out('output_parameters', collect_checks(orm.List(self.ctx.checks), metadata=metadata))
        failed = [check for check in self.ctx.checks if check['status'] == 'failed']
        for check in self.ctx.checks:
            if check['status'] in ('failed', 'warning'):
                self.report(f'{check["name"]} {check["status"]}: {check["found"]}. {check["remedy"]}')
        return self._exit_code(failed) if failed else None

    def _exit_code(self, failed: list[dict[str, str]]) -> ExitCode:
        """Return the exit code of the first failure, with the names of all."""
        first, names = failed[0], ', '.join(check['name'] for check in failed)
        code = self.exit_codes.ERROR_ENGINE_FAILED
        if first['name'] == 'pseudopotentials':
            code = self.exit_codes.ERROR_PSEUDOS_MISSING
        elif first['name'].partition(' ')[0] in COMPUTER_CHECKS:
            code = self.exit_codes.ERROR_COMPUTER_UNFIT
        return code.format(
            count=len(failed),
            names=names,
            name=first['name'],
            found=first['found'].rstrip('.'),
            remedy=first['remedy'],
        )

    def _not_run(self, name: str) -> Check:
        """Return the check of a code whose job was not started."""
        fault = self.ctx.faults.get(name) or self.ctx.faults.get('pacemaker', '')
        if 'has no executable' in fault and name in self.ctx.faults:
            return Check(name, 'failed', fault, remedy='Install it there, or give another code.')
        return Check(name, 'skipped', fault, remedy='Mend that first.')

    def _take(self, name: str, output: str) -> bool:
        """Take what the job of the code ``name`` has made, if it has; return whether it has."""
        job = self.ctx.jobs.get(name)
        if job is None or output not in job.outputs:
            return False
        self.ctx.made = {**self.ctx.made, output: job.outputs[output]}
        return True

    def _run(self, *names: str) -> None:
        """Start the jobs of these codes, but of none that cannot run."""
        for name in names:
            if name not in self.ctx.faults and 'code' in self._given(name):
                inputs = job_inputs(name, self._given(name), self.ctx.made)
                self.to_context(**{f'jobs.{name}': self.submit(JOBS[name], labelled(name, inputs))})

    def _given(self, name: str) -> Mapping[str, t.Any]:
        """Return what the campaign gives to the calculation of the code ``name``."""
        return t.cast(Mapping[str, t.Any], functools.reduce(operator.getitem, NAMESPACES[name].split('.'), self.inputs))

    def _add(self, *checks: Check) -> None:
        """Keep checks, in a form that a checkpoint can hold."""
        self.ctx.checks += [dataclasses.asdict(check) for check in checks]


def check_inputs(campaign: Mapping[str, t.Any], elements: Iterable[str]) -> dict[str, t.Any]:
    """Return the inputs of `CheckWorkChain` for the inputs of a campaign.

    :param campaign: inputs of `ActiveLearningWorkChain`, nested, as a builder or the process itself has them.
    :param elements: chemical symbols of the campaign.
    """
    inputs: dict[str, t.Any] = {'elements': orm.List(sorted(elements))}
    for path in NAMESPACES.values():
        step, calculation = path.split('.')
        given = campaign[step].get(calculation, {})
        ports = t.cast(t.Any, CheckWorkChain.spec().inputs)[step][calculation]
        inputs.setdefault(step, {})[calculation] = {port: value for port, value in given.items() if port in ports}
    return inputs
