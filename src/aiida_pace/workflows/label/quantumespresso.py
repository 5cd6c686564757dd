"""Labels from Quantum ESPRESSO: one `PwBaseWorkChain` for each frame."""

from __future__ import annotations

import hashlib
import typing as t
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from aiida.engine.processes.process_spec import ProcessSpec
from aiida.plugins import CalculationFactory, WorkflowFactory

from aiida_pace.calculations.functions.labels import Label, frame_key, labelled_dataset
from aiida_pace.calculations.functions.validation import choose_kpoints_distance
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.formats.quantumespresso.isolated_atom import isolated_atom_parameters
from aiida_pace.formats.quantumespresso.output import cpu_seconds, voigt_stress
from aiida_pace.formats.quantumespresso.settings import label_digest, robust_parameters
from aiida_pace.workflows.check.trial import Check, LabelTrial, TrialError, finished, text_of
from aiida_pace.workflows.graph import cause_of
from aiida_pace.workflows.label.labeller import Inputs, Labeller, Result
from aiida_pace.workflows.label.reuse import Settings
from aiida_pace.workflows.values import fill_values, merge_values

PwBaseWorkChain: t.Any = WorkflowFactory('quantumespresso.pw.base')
PwCalculation: t.Any = CalculationFactory('quantumespresso.pw')

__all__ = ('PwLabeller', 'PwTrial', 'collect_trajectories', 'costs_of', 'failure', 'has_scf_failed', 'is_cached')

#: Exit statuses of ``PwCalculation`` that say that the SCF went astray, so that other steps may lead it home: not
#: converged, failures of the diagonalisation and of the mixing, a wrong charge. Those that ran out of time, were
#: killed or left no output are restarted by ``PwBaseWorkChain``, or not worth another try.
SCF_STATUSES = frozenset({410, 461, 462, 463, 464, 465, 466, 467, 468, 531})

#: Settings of the plugin that change neither the input of pw.x nor its result.
IGNORED_SETTINGS = frozenset({'additional_retrieve_list', 'also_bands', 'cmdline', 'no_bands', 'parser_options'})

#: Overrides that ``PwBaseWorkChain.get_builder_from_protocol`` reads: all others are put into the ports as they are.
READ_BY_PROTOCOL = frozenset(
    {'clean_workdir', 'kpoints_distance', 'kpoints_force_parity', 'max_iterations', 'meta_parameters', 'pseudo_family'}
)
READ_BY_PROTOCOL_OF_JOB = frozenset({'metadata', 'parallelization', 'parameters', 'pseudos', 'settings'})

#: Ports that each frame has of its own.
OWN = ('kpoints', 'pw.structure', 'pw.parent_folder')


#: One iteration: with this threshold, in Ry, it has converged, so that the output is one of a good run.
ONE_ITERATION = {'CONTROL': {'calculation': 'scf'}, 'ELECTRONS': {'electron_maxstep': 1, 'conv_thr': 1e3}}


class PwTrial(LabelTrial):
    """One iteration of ``pw.x`` on a small cell of all elements that have pseudopotentials."""

    name = 'pw'
    engine = '`pw.x` of Quantum ESPRESSO'
    port = 'label.pw.pw.code'
    process = PwCalculation
    own = ('structure', 'kpoints', 'parent_folder', 'parallelization')

    def cover(self, given: Inputs, elements: Sequence[str]) -> tuple[list[str], Check]:
        """Return which elements have pseudopotentials."""
        covered = sorted(set(elements) & set(given.get('pseudos', {})))
        if missing := sorted(set(elements) - set(covered)):
            remedy = (
                'Use a family with pseudopotentials of all elements, or add pseudopotentials to '
                f'`{self.namespace}.pseudos`, keyed by the element.'
            )
            return covered, Check('pseudopotentials', 'failed', f'there are none for {", ".join(missing)}', '', remedy)
        return covered, Check('pseudopotentials', 'ok', f'there are some for {", ".join(covered)}')

    def inputs(self, given: Inputs, made: Inputs) -> dict[str, t.Any]:
        """Return one iteration at the Γ point."""
        kpoints = orm.KpointsData()
        kpoints.set_kpoints_mesh([1, 1, 1])
        return {
            'structure': made['cell'],
            'kpoints': kpoints,
            'parameters': orm.Dict(merge_values(given['parameters'].get_dict(), ONE_ITERATION)),
            'pseudos': {kind.name: given['pseudos'][kind.symbol] for kind in made['cell'].kinds},
        }

    def inspect(self, node: orm.CalcJobNode) -> str:
        """See whether it is ``pw.x``, and read the pseudopotentials."""
        if 'Program PWSCF' not in self._stdout(node):
            raise TrialError('the code wrote no line `Program PWSCF`: it did not start, or it is no pw.x')
        finished(node)
        elements = ', '.join(sorted(node.inputs.structure.get_symbols_set()))
        return f'read the pseudopotentials of {elements}, made one iteration'

    def versions(self, node: orm.CalcJobNode) -> list[tuple[str, str]]:
        """Return the output of ``pw.x``, which begins with its version."""
        return [('pw.x', self._stdout(node))]

    def _stdout(self, node: orm.CalcJobNode) -> str:
        return text_of(node, str(node.get_option('output_filename')))


class PwLabeller(Labeller):
    """Labels from Quantum ESPRESSO: its inputs are those of ``PwBaseWorkChain``, all but the structure."""

    name = 'pw'
    trial = PwTrial()
    process_class = PwBaseWorkChain

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Declare the ports."""
        spec.expose_inputs(
            PwBaseWorkChain,
            namespace=cls.name,
            exclude=OWN,
            namespace_options={
                'required': False,
                'populate_defaults': False,
                'help': 'Labels from Quantum ESPRESSO: inputs of `PwBaseWorkChain`, with the pseudopotentials of all '
                'elements.',
            },
        )
        ports = t.cast(t.Any, spec.inputs)[cls.name]
        ports['kpoints_distance'].required = True
        ports['pw']['code'].required = True

    @classmethod
    def fill_builder(
        cls, builder: t.Any, code: orm.AbstractCode, values: Inputs, elements: Sequence[str], options: Inputs
    ) -> None:
        """Fill the namespace from the protocol of ``PwBaseWorkChain``, with pseudopotentials of all ``elements``."""
        # Only its kinds count: they decide which pseudopotentials are taken, and with which cutoffs.
        kinds = orm.StructureData(cell=[[10.0 * len(elements), 0, 0], [0, 10, 0], [0, 0, 10]])
        for number, element in enumerate(elements):
            kinds.append_atom(position=(10.0 * number, 0, 0), symbols=element)
        job = dict(values.get('pw', {}))
        metadata = dict(job.pop('metadata', {}))
        options = merge_values(options, metadata.pop('options', {}))
        read = {key: value for key, value in values.items() if key in READ_BY_PROTOCOL}
        read['pw'] = {key: value for key, value in job.items() if key in READ_BY_PROTOCOL_OF_JOB}
        made = PwBaseWorkChain.get_builder_from_protocol(code, kinds, overrides=read, options=options)
        for port in READ_BY_PROTOCOL & set(made):
            builder[port] = made[port]
        for port in ({'code'} | READ_BY_PROTOCOL_OF_JOB) & set(made.pw):
            builder.pw[port] = made.pw[port]
        rest = {key: value for key, value in values.items() if key not in (*READ_BY_PROTOCOL, 'pw')}
        rest['pw'] = {key: value for key, value in job.items() if key not in READ_BY_PROTOCOL_OF_JOB}
        rest['pw']['metadata'] = metadata
        fill_values(builder, rest, f'label.{cls.name}.')

    def validate(self) -> str | None:
        """Refuse settings that give no label of the frame itself."""
        control = self.inputs['pw']['parameters'].get_dict().get('CONTROL', {})
        for flag in ('tprnfor', 'tstress'):
            if not control.get(flag):
                return f'`pw.pw.parameters`: `CONTROL.{flag}` must be true, a label needs forces and stress.'
        if control.get('calculation', 'scf') != 'scf':
            return f'`pw.pw.parameters`: `CONTROL.calculation` is {control["calculation"]}, a label needs scf.'
        return None

    def validate_elements(self, elements: Iterable[str]) -> str | None:
        """Refuse elements that have no pseudopotential."""
        missing = sorted(set(elements) - set(self.inputs['pw']['pseudos']))
        if missing:
            return f'no pseudopotential for {", ".join(missing)}: add it to `pw.pw.pseudos`, keyed by the element.'
        return None

    @property
    def settings(self) -> Settings:
        """The settings of pw.x that decide a label, and the pseudopotentials."""
        pw = self.inputs['pw']
        plugin = pw['settings'].get_dict() if 'settings' in pw else {}
        other = {
            'settings': {key: value for key, value in plugin.items() if key.lower() not in IGNORED_SETTINGS},
            **{name: _content_digest(pw[name]) for name in ('hubbard_file', 'vdw_table') if name in pw},
        }
        parity = bool(self.inputs['kpoints_force_parity']) if 'kpoints_force_parity' in self.inputs else False
        return Settings(
            label_digest(pw['parameters'].get_dict(), self.inputs['kpoints_distance'].value, parity, other),
            {element: _content_digest(pseudo) for element, pseudo in pw['pseudos'].items()},
        )

    def consistent_inputs(self, parameters: orm.Dict, structures: Mapping[str, orm.StructureData]) -> dict[str, t.Any]:
        """Return a distance between k-points at which all frames of a crystal have one mesh."""
        distance = self.inputs['kpoints_distance']
        return {'kpoints_distance': choose_kpoints_distance(parameters, distance, **structures)}

    def job_inputs(self, node: orm.StructureData) -> dict[str, t.Any]:
        """Return the inputs of ``PwBaseWorkChain``, with the pseudopotentials of just this structure.

        An isolated atom, the reference of all energies, runs with `isolated_atom_parameters`.
        """
        shared = self.inputs['pw']
        pseudos = {kind.name: shared['pseudos'][kind.symbol] for kind in node.kinds}
        pw = {**shared, 'structure': node, 'pseudos': pseudos}
        if _is_isolated_atom(node):
            (element,) = pseudos
            valence = getattr(pseudos[element], 'z_valence', None)
            pw['parameters'] = orm.Dict(isolated_atom_parameters(pw['parameters'].get_dict(), element, valence))
        return {**self.inputs, 'pw': pw}

    def retry_inputs(self) -> Inputs:
        """Return settings that converge more surely to the same label."""
        pw = self.inputs['pw']
        return {**self.inputs, 'pw': {**pw, 'parameters': orm.Dict(robust_parameters(pw['parameters'].get_dict()))}}

    def results(self, run: orm.ProcessNode, count: int) -> list[Result]:
        """Return the result of a run.

        An isolated atom is tried again whatever the cause: without its energy there is no fit at all.
        """
        cause = failure(run)
        may_retry = has_scf_failed(run) or (cause is not None and _is_isolated_atom(run.inputs.pw.structure))
        return [Result(cause, may_retry, is_cached(run), costs_of(run))]

    def label_node(self, run: orm.ProcessNode) -> orm.Data:
        """Return the trajectory."""
        return t.cast(orm.Data, run.outputs.output_trajectory)

    def collect(
        self,
        dataset: AtomsDatasetData,
        picks: orm.Dict,
        reused: AtomsDatasetData | None,
        sources: Mapping[str, orm.Data],
    ) -> dict[str, AtomsDatasetData]:
        """Return the last energy, forces and stress of every trajectory."""
        return collect_trajectories(dataset, picks, reused, **sources)  # type: ignore[arg-type]

    def warnings(self, runs: Collection[orm.ProcessNode]) -> list[str]:
        """Say of which runs the core-seconds are wall time."""
        jobs = [job for run in runs for job in _jobs(run) if 'output_parameters' in job.outputs]
        count = sum(_cpu_seconds(job) is None for job in jobs)
        return [f'core-seconds of {count} of {len(jobs)} pw.x runs are wall time: they printed no CPU time'] * bool(
            count
        )


@calcfunction
def collect_trajectories(
    dataset: AtomsDatasetData,
    picks: orm.Dict,
    reused: AtomsDatasetData | None = None,
    **trajectories: orm.TrajectoryData,
) -> dict[str, AtomsDatasetData]:
    """Return the frames of ``dataset`` that have a trajectory, with its last energy, forces and stress as labels.

    :param picks: by `frame_key`: the name of the trajectory, and 0.
    :param reused: labelled frames of ``dataset``, taken as they are.
    :param trajectories: outputs of ``PwCalculation``.
    """
    sources = {key: trajectories[name] for key, (name, _) in picks.get_dict().items()}
    labels = {
        index: Label(
            sources[key].get_array('energy')[-1],
            sources[key].get_array('forces')[-1],
            voigt_stress(sources[key].get_array('stress')[-1]),
            sources[key].uuid,
        )
        for index in range(dataset.count)
        if (key := frame_key(index)) in sources
    }
    return labelled_dataset(dataset, labels, reused)


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
    jobs = sorted(_jobs(run), key=lambda job: job.ctime)
    return bool(jobs) and jobs[-1].exit_status in SCF_STATUSES


def is_cached(run: orm.ProcessNode) -> bool:
    """Return whether no ``pw.x`` ran for this DFT run: AiiDA's cache had all of it."""
    jobs = list(_jobs(run))
    return bool(jobs) and all(job.base.caching.is_created_from_cache for job in jobs)


def costs_of(run: orm.ProcessNode) -> dict[str, float]:
    """Return the core-seconds of a DFT run, failed jobs too: ``computed``, or ``cached`` and so not spent.

    The CPU time that each ``pw.x`` measured itself, of all its processes; where it printed none, its wall time, times
    its cores.
    """
    costs = {'computed': 0.0, 'cached': 0.0}
    for job in _jobs(run):
        if job.computer is not None and 'output_parameters' in job.outputs:
            resources = job.computer.get_scheduler().create_job_resource(**job.get_option('resources'))  # type: ignore[arg-type]
            processes, cpu = resources.get_tot_num_mpiprocs(), _cpu_seconds(job)
            if cpu is None:
                cores = processes * (resources.get('num_cores_per_mpiproc') or 1)
                seconds = cores * job.outputs.output_parameters.base.attributes.get('wall_time_seconds', 0.0)
            else:
                seconds = processes * cpu
            costs['cached' if job.base.caching.is_created_from_cache else 'computed'] += seconds
    return costs


def _cpu_seconds(job: orm.CalcJobNode) -> float | None:
    name = job.get_option('output_filename')
    if 'retrieved' not in job.outputs or name not in job.outputs.retrieved.base.repository.list_object_names():
        return None
    return cpu_seconds(
        job.outputs.retrieved.base.repository.get_object_content(name, mode='rb').decode(errors='replace')
    )


def _jobs(run: orm.ProcessNode) -> Iterator[orm.CalcJobNode]:
    return (job for job in run.called if isinstance(job, orm.CalcJobNode))


def _is_isolated_atom(structure: orm.StructureData) -> bool:
    """Return whether this is a single atom without periods, the reference of the energies of its element."""
    return len(structure.sites) == 1 and not any(structure.pbc)


def _content_digest(node: orm.SinglefileData) -> str:
    return hashlib.sha256(node.base.repository.get_object_content(node.filename, mode='rb')).hexdigest()
