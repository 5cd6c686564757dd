"""Labels from a calculator of ASE, or from an ACE potential as teacher: one job for each batch of frames."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import typing as t
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from aiida.engine.processes.process_spec import ProcessSpec

from aiida_pace.calculations.base import validate_known_elements
from aiida_pace.calculations.functions.labels import Label, frame_key, labelled_dataset, split_batches
from aiida_pace.calculations.label_calculator import PaceLabelCalculation
from aiida_pace.config import CalculatorConfig
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.frames import Frames
from aiida_pace.workflows.check.trial import Check, Inputs, LabelTrial, TrialError, finished
from aiida_pace.workflows.graph import cause_of
from aiida_pace.workflows.label.labeller import Labeller, Result
from aiida_pace.workflows.label.reuse import Settings
from aiida_pace.workflows.validators import validate_positive

__all__ = ('CalculatorLabeller', 'CalculatorTrial', 'collect_arrays')

#: Raise when frames reach the calculator in another way: older labels are then not reused.
RULES_VERSION = 1

#: Energies per atom of a crystal in its cell and in twice the cell must agree to this, in eV.
TOLERANCE = 0.001

#: Exit statuses after which another try may do: the job was interrupted, or its time was too short.
INTERRUPTED = frozenset(
    code.status
    for code in (
        PaceLabelCalculation.exit_codes.ERROR_ENGINE_INTERRUPTED,
        PaceLabelCalculation.exit_codes.ERROR_TIME_LIMIT,
    )
)


class CalculatorTrial(LabelTrial):
    """Two small crystals of all elements."""

    name = PaceLabelCalculation.PROGRAM.replace('-', '_')
    engine = f'`{PaceLabelCalculation.PROGRAM}` with the calculator'
    port = 'label.calculator.code'
    process = PaceLabelCalculation
    own = ('dataset',)
    outputs = (PaceLabelCalculation.filename_stderr(),)

    def cover(self, given: Inputs, elements: Sequence[str]) -> tuple[list[str], None]:
        """Return all elements, or those of the teacher; what a calculator knows shows when it is tried."""
        known = set(given['potential'].elements) if 'potential' in given else set(elements)
        return sorted(set(elements) & known), None

    def inputs(self, given: Inputs, made: Inputs) -> dict[str, t.Any]:
        """Return two frames."""
        return {'dataset': made['pool']}

    def inspect(self, node: orm.CalcJobNode) -> str:
        """See whether both have a label."""
        finished(node)
        report = node.outputs.output_parameters
        if report['failures']:
            raise TrialError(next(iter(report['failures'].values())))
        return f'labelled {report["count"]} frames with {report["calculator"]}'

    def judge(self, node: orm.CalcJobNode) -> Check:
        """Return what came of the job; a warning when the energy depends on the description of the cell."""
        check = super().judge(node)
        if check.status != 'ok':
            return check
        warnings = supercell_warning(node.outputs.output_parameters['supercell'].get('difference', 0.0))
        return dataclasses.replace(check, status='warning', remedy=' '.join(warnings)) if warnings else check

    def versions(self, node: orm.CalcJobNode) -> list[tuple[str, str]]:
        """Return the version of the program."""
        program = PaceLabelCalculation.PROGRAM
        return [(program, f'{program} {node.outputs.output_parameters["version"]}')]


class CalculatorLabeller(Labeller):
    """Labels from a calculator: its inputs are those of ``pace.label_calculator``, all but the frames."""

    name = 'calculator'
    trial = CalculatorTrial()
    process_class = PaceLabelCalculation

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Declare the ports."""
        spec.expose_inputs(
            PaceLabelCalculation,
            namespace=cls.name,
            exclude=('dataset',),
            namespace_options={
                'required': False,
                'populate_defaults': False,
                'help': 'Labels from a calculator of ASE, or from an ACE potential as teacher: inputs of '
                '`pace.label_calculator`.',
            },
        )
        spec.input(
            f'{cls.name}.max_frames_per_job',
            valid_type=orm.Int,
            default=lambda: orm.Int(100),
            validator=validate_positive,
            help='Largest number of frames that one job labels, one after another; fewer for a slow calculator.',
        )

    def validate_elements(self, elements: Iterable[str]) -> str | None:
        """Refuse elements that the teacher does not know; what a calculator knows shows when it is tried."""
        remedy = 'give a potential for all of them'
        return validate_known_elements('dataset', elements, self.inputs.get('potential'), remedy)

    @property
    def settings(self) -> Settings:
        """The calculator with its keyword arguments, or the content of the potential."""
        content: dict[str, t.Any] = {'rules': RULES_VERSION}
        if 'potential' in self.inputs:
            potential = self.inputs['potential']
            content |= {'potential': potential.digest, 'reference_energies': potential.reference_energies}
        else:
            content |= CalculatorConfig.model_validate(self.inputs['parameters'].get_dict()).model_dump(mode='json')
        return Settings(hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest())

    def shares(self, frames: Frames, indices: Sequence[int], count: int) -> dict[str, list[int]]:
        """Return batches of nearly equal numbers of frames."""
        limit = self._max_frames_per_job
        parts = np.array_split(np.array(indices, dtype='i8'), math.ceil(len(indices) / limit))
        return {f'batch_{number:03d}': part.tolist() for number, part in enumerate(parts, start=1)}

    def job_nodes(self, dataset: AtomsDatasetData, jobs: Mapping[str, Sequence[int]]) -> dict[str, orm.Data]:
        """Return the data set of each batch; the one given when a single batch is all of it, unlabelled."""
        if not dataset.is_labelled and list(jobs.values()) == [list(range(dataset.count))]:
            return dict.fromkeys(jobs, dataset)
        batches = orm.Dict({key: list(share) for key, share in jobs.items()})
        return dict(split_batches(dataset, batches, metadata={'call_link_label': 'split_batches'}))  # type: ignore[call-arg]

    def job_inputs(self, node: AtomsDatasetData) -> dict[str, t.Any]:
        """Return the inputs of ``pace.label_calculator``."""
        shared = {name: value for name, value in self.inputs.items() if name != 'max_frames_per_job'}
        return {**shared, 'dataset': node}

    def estimated_cost(self, sizes: Iterable[int]) -> float:
        """Return the number of atoms."""
        return float(sum(sizes))

    def results(self, run: orm.ProcessNode, count: int) -> list[Result]:
        """Return the label or the cause of every frame of a batch."""
        is_cached = isinstance(run, orm.CalcJobNode) and run.base.caching.is_created_from_cache
        if not run.is_finished or 'labels' not in run.outputs:
            may_retry = run.is_finished and run.exit_status in INTERRUPTED
            return [Result(cause_of(run), may_retry, is_cached)] * count
        labelled, seconds = (run.outputs.labels.get_array(name) for name in ('labelled', 'core_seconds'))
        report = run.outputs.output_parameters
        kind = 'cached' if is_cached else 'computed'
        return [
            Result(
                None if labelled[index] else report['failures'][str(index)],
                index in report['unreached'],
                is_cached,
                {kind: float(seconds[index])},
            )
            for index in range(count)
        ]

    def label_node(self, run: orm.ProcessNode) -> orm.Data:
        """Return the arrays."""
        return t.cast(orm.Data, run.outputs.labels)

    def collect(
        self,
        dataset: AtomsDatasetData,
        picks: orm.Dict,
        reused: AtomsDatasetData | None,
        sources: Mapping[str, orm.Data],
    ) -> dict[str, AtomsDatasetData]:
        """Return the labels of all batches."""
        return collect_arrays(dataset, picks, reused, **sources)  # type: ignore[arg-type]

    def warnings(self, runs: Collection[orm.ProcessNode]) -> list[str]:
        """Say where the energy depends on how the cell is described, and where there is no stress."""
        found = []
        reports = [run.outputs.output_parameters for run in runs if 'output_parameters' in run.outputs]
        differences = [report['supercell'].get('difference', 0.0) for report in reports]
        if worst := max(differences, key=abs, default=0.0):
            found += supercell_warning(worst)
        labels = [run.outputs.labels for run in runs if 'labels' in run.outputs]
        without = sum(int(np.sum(one.get_array('labelled') & ~one.get_array('has_stress'))) for one in labels)
        if without:
            found.append(
                f'the calculator gives no stress for {without} periodic frames: the labels have none, and elastic '
                'constants cannot be validated.'
            )
        return found

    @property
    def _max_frames_per_job(self) -> int:
        return int(self.inputs['max_frames_per_job'].value)


def supercell_warning(difference: float) -> list[str]:
    """Return a sentence when energies per atom of one crystal differ between its cell and twice the cell.

    :param difference: in eV/atom.
    """
    if abs(difference) <= TOLERANCE:
        return []
    return [
        f'the energy of a crystal depends on the description of its cell: twice the cell differs by '
        f'{1000 * difference:.1f} meV/atom. Such labels contradict each other: take a calculator that samples '
        'k-points, or label only molecules and large cells.'
    ]


@calcfunction
def collect_arrays(
    dataset: AtomsDatasetData,
    picks: orm.Dict,
    reused: AtomsDatasetData | None = None,
    **labels: orm.ArrayData,
) -> dict[str, AtomsDatasetData]:
    """Return the frames of ``dataset`` that batches have labelled.

    :param picks: by `frame_key`: the name of the labels, and the index of the frame in its batch.
    :param reused: labelled frames of ``dataset``, taken as they are.
    :param labels: outputs of ``pace.label_calculator``, by name.
    """
    chosen = picks.get_dict()
    sizes = dataset.frames.sizes
    rows: dict[str, dict[int, int]] = {}
    for index in range(dataset.count):
        if frame_key(index) in chosen:
            name, row = chosen[frame_key(index)]
            rows.setdefault(name, {})[row] = index
    found: dict[int, Label] = {}
    for name, by_row in rows.items():
        node = labels[name]
        energy, forces, stress, has_stress = (
            node.get_array(array) for array in ('energy', 'forces', 'stress', 'has_stress')
        )
        atoms = np.concatenate(([0], np.cumsum(node.get_array('sizes'))))
        for row, index in by_row.items():
            part = slice(int(atoms[row]), int(atoms[row + 1]))
            if part.stop - part.start != sizes[index]:
                raise ValueError(f'`picks` name a frame of `{name}` with another number of atoms')
            found[index] = Label(energy[row], forces[part], stress[row] if has_stress[row] else None, node.uuid)
    return labelled_dataset(dataset, dict(sorted(found.items())), reused)
