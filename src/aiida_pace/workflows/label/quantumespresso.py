"""What a DFT run of one frame gave: its label or why there is none, and what it cost."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator, Sequence

import numpy as np
from aiida import orm

from aiida_pace.workflows.graph import cause_of

__all__ = ('costs_of', 'failure', 'has_scf_failed', 'is_cached')

#: Exit statuses of ``PwCalculation`` that say that the SCF went astray, so that other steps may lead it home: not
#: converged, failures of the diagonalisation and of the mixing, a wrong charge. Those that ran out of time, were
#: killed or left no output are restarted by ``PwBaseWorkChain``, or not worth another try.
SCF_STATUSES = frozenset({410, 461, 462, 463, 464, 465, 466, 467, 468, 531})


def failure(run: orm.ProcessNode | None) -> str | None:
    """Return why the DFT run gives no label, or None when it gives one."""
    if run is None or not run.is_finished_ok:
        return cause_of(run)
    arrays = run.outputs.output_trajectory
    for name in ('energy', 'forces', 'stress'):
        if name not in arrays.get_arraynames() or not np.isfinite(arrays.get_array(name)).all():
            return f'pw.x gave no finite {name}'
    return None


def has_scf_failed(run: orm.ProcessNode | None) -> bool:
    """Return whether the DFT run gave no label for reasons that a more careful SCF may mend."""
    if run is None or not run.is_finished:
        return False
    if run.is_finished_ok:
        return failure(run) is not None
    jobs = sorted(_jobs(run), key=lambda job: t.cast(int, job.pk))
    return bool(jobs) and jobs[-1].exit_status in SCF_STATUSES


def is_cached(runs: Sequence[orm.ProcessNode]) -> bool:
    """Return whether no ``pw.x`` ran for these DFT runs: AiiDA's cache had all of them."""
    jobs = [job for run in runs for job in _jobs(run)]
    return bool(jobs) and all(job.base.caching.is_created_from_cache for job in jobs)


def costs_of(runs: Sequence[orm.ProcessNode]) -> dict[str, float]:
    """Return the core-seconds of DFT runs, failed ones too: ``computed``, or ``cached`` and so not spent.

    The wall time that each ``pw.x`` measured itself, times its cores.
    """
    costs = {'computed': 0.0, 'cached': 0.0}
    for run in runs:
        for job in _jobs(run):
            if job.computer is not None and 'output_parameters' in job.outputs:
                resources = job.computer.get_scheduler().create_job_resource(**job.get_option('resources'))
                cores = resources.get_tot_num_mpiprocs() * (resources.get('num_cores_per_mpiproc') or 1)
                seconds = job.outputs.output_parameters.base.attributes.get('wall_time_seconds', 0.0)
                costs['cached' if job.base.caching.is_created_from_cache else 'computed'] += cores * seconds
    return costs


def _jobs(run: orm.ProcessNode) -> Iterator[orm.CalcJobNode]:
    return (job for job in run.called if isinstance(job, orm.CalcJobNode))
