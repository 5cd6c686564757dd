"""Label a data set: energies, forces and stress of every frame from Quantum ESPRESSO."""

from __future__ import annotations

import typing as t

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, append_
from aiida.engine.processes.workchains.workchain import WorkChainSpec
from aiida.plugins import WorkflowFactory

from aiida_pace.calculations.functions.labels import account_labels, collect_labels, split_structures
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.workflows.lane import ResumableWorkChain, balanced_shares, cause_of, jobs_of
from aiida_pace.workflows.lane.label import LabelLaneWorkChain
from aiida_pace.workflows.validators import missing_pseudos, validate_fraction, validate_positive

PwBaseWorkChain: t.Any = WorkflowFactory('quantumespresso.pw.base')

__all__ = ('LabelWorkChain',)


class LabelWorkChain(ResumableWorkChain):
    """Label every frame of a data set with ``PwBaseWorkChain``, in a bounded number of lanes."""

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        """Define the process specification."""
        super().define(spec)
        spec.input('dataset', valid_type=AtomsDatasetData, help='The frames to label.')
        spec.input(
            'max_concurrent',
            valid_type=orm.Int,
            default=lambda: orm.Int(2),
            validator=validate_positive,
            help='Number of DFT jobs at once. `core.direct` has no queue: there, at most the number of cores.',
        )
        spec.input(
            'max_failed_fraction',
            valid_type=orm.Float,
            default=lambda: orm.Float(0.3),
            validator=validate_fraction,
            help='Share of the frames that may fail before the whole step counts as failed.',
        )
        spec.expose_inputs(PwBaseWorkChain, exclude=('kpoints', 'pw.structure', 'pw.parent_folder'))
        spec.inputs['kpoints_distance'].required = True
        t.cast(t.Any, spec.inputs)['pw']['code'].required = True
        spec.inputs.validator = cls.validate_inputs
        spec.outline(cls.split, cls.run_lanes, cls.collect, cls.results)
        spec.output(
            'dataset',
            valid_type=AtomsDatasetData,
            required=False,
            help='The labelled frames; absent when not a single one could be labelled.',
        )
        spec.output(
            'output_parameters',
            valid_type=orm.Dict,
            help='The account: frames requested = labelled + failed, failures by cause, core-seconds.',
        )
        spec.exit_code(
            410,
            'ERROR_LABELS_FAILED',
            message='{failed} of {requested} frames could not be labelled, more than `max_failed_fraction` = {limit} '
            'allows ({causes}). Look at `verdi process report` of one of them, mend the cause and run again.',
        )

    @classmethod
    def validate_inputs(cls, value: t.Any, namespace: t.Any) -> str | None:
        """Refuse settings that print no forces or stress, and an element that has no pseudopotential."""
        control = value['pw']['parameters'].get_dict().get('CONTROL', {})
        for flag in ('tprnfor', 'tstress'):
            if not control.get(flag):
                return f'`pw.parameters`: `CONTROL.{flag}` must be true, a label needs forces and stress.'
        if 'dataset' not in namespace or 'dataset' not in value:
            return None
        return missing_pseudos(value['dataset'].elements, value['pw']['pseudos'])

    def split(self) -> None:
        """Make one structure per frame, so that each DFT run links to the frame it labels."""
        self.ctx.structures = split_structures(
            dataset=self.inputs.dataset, metadata={'call_link_label': 'split_structures'}
        )

    def run_lanes(self) -> None:
        """Share the structures between the lanes, by estimated cost, and start the lanes."""
        costs = {key: float(len(structure.sites) ** 3) for key, structure in self.ctx.structures.items()}
        shares = balanced_shares(costs, self.inputs.max_concurrent.value)
        pw = self.exposed_inputs(PwBaseWorkChain)
        self.report(f'labelling {len(costs)} frames in {len(shares)} lanes')
        for number, share in enumerate(shares, start=1):
            inputs = {**pw, 'structures': {key: self.ctx.structures[key] for key in share}}
            self.to_context(lanes=append_(self.submit_once(LabelLaneWorkChain, f'lane_{number}', inputs)))

    def collect(self) -> None:
        """Gather the labels of the frames that succeeded, the causes of those that failed, and what DFT cost."""
        self.ctx.trajectories, self.ctx.failures, self.ctx.core_seconds = {}, {}, {}
        jobs = jobs_of(self.ctx.lanes)
        for key in self.ctx.structures:
            job = jobs.get(key)
            self.ctx.core_seconds[key] = core_seconds(job) if job is not None else 0.0
            cause = failure(job)
            if job is not None and cause is None:
                self.ctx.trajectories[key] = job.outputs.output_trajectory
            else:
                self.ctx.failures[key] = cause
                self.report(f'{key} could not be labelled: {cause}')

    def results(self) -> ExitCode | None:
        """Attach the labelled frames and the account; fail when too many frames failed."""
        account = account_labels(orm.Dict(self.ctx.core_seconds), orm.Dict(self.ctx.failures))
        self.out('output_parameters', account)
        if self.ctx.trajectories:
            self.out('dataset', collect_labels(self.inputs.dataset, **self.ctx.trajectories))
        requested, failed = account['requested'], account['failed']
        self.report(f'{account["labelled"]} of {requested} frames labelled, {failed} failed')
        if failed > self.inputs.max_failed_fraction.value * requested:
            causes = '; '.join(f'{len(keys)} x {cause}' for cause, keys in account['failures'].items())
            limit = self.inputs.max_failed_fraction.value
            return self.exit_codes.ERROR_LABELS_FAILED.format(
                failed=failed, requested=requested, limit=limit, causes=causes
            )
        return None


def failure(job: orm.ProcessNode | None) -> str | None:
    """Return why the DFT run ``job`` gives no label, or None when it gives one."""
    if job is None or not job.is_finished_ok:
        return cause_of(job)
    arrays = job.outputs.output_trajectory
    for name in ('energy', 'forces', 'stress'):
        if name not in arrays.get_arraynames() or not np.isfinite(arrays.get_array(name)).all():
            return f'pw.x gave no finite {name}'
    return None


def core_seconds(run: orm.ProcessNode) -> float:
    """Return the time that all ``pw.x`` of a ``PwBaseWorkChain`` measured, failed ones too, times their cores."""
    total = 0.0
    for job in run.called:
        if isinstance(job, orm.CalcJobNode) and job.computer is not None and 'output_parameters' in job.outputs:
            resources = job.computer.get_scheduler().create_job_resource(**job.get_option('resources'))
            cores = resources.get_tot_num_mpiprocs() * (resources.get('num_cores_per_mpiproc') or 1)
            total += cores * job.outputs.output_parameters.base.attributes.get('wall_time_seconds', 0.0)
    return total
