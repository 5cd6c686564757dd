"""Labels that the profile has already: of the same frames with the same settings, in data sets and in runs."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from aiida import orm
from ase.data import chemical_symbols

from aiida_pace.calculations.functions.labels import frame_key
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.frames import Frames
from aiida_pace.structures.fingerprint import exact_fingerprints
from aiida_pace.structures.outliers import composition, robust_references
from aiida_pace.workflows.graph import children, jobs_of

__all__ = (
    'LABELS_EXTRA',
    'Origin',
    'Run',
    'Settings',
    'index_jobs',
    'index_labels',
    'index_request',
    'interrupted_runs',
    'label_costs',
    'reference_energies',
    'stored_labels',
)

#: Extra of a labelled data set, and of the work chain that labels it: settings, and what to find the frames by.
LABELS_EXTRA = 'pace_labels'

PROCESS_TYPE = 'aiida.workflows:pace.label'

#: Part of the extra with `Settings.by_element`: the name that all releases write, so that their labels are found.
BY_ELEMENT = 'pseudos'


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of a label, by content.

    :param digest: of all that counts for every frame.
    :param by_element: digests of what counts only for the frames that hold an element, such as a pseudopotential.
    """

    digest: str
    by_element: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def agree(self, by_element: Mapping[str, str], elements: Collection[str]) -> bool:
        """Return whether ``by_element`` says the same of all ``elements``."""
        return all(by_element.get(element) == self.by_element.get(element) for element in elements)


class Origin(t.NamedTuple):
    """Where a label is: a data set, the row there, and what it cost in core-seconds."""

    dataset: orm.Node
    row: int
    core_seconds: float


def index_labels(
    node: AtomsDatasetData, settings: Settings, core_seconds: Mapping[str, float], quarantined: bool = False
) -> None:
    """Write on a labelled data set what `stored_labels` finds its frames by.

    :param core_seconds: what each label cost, by the hexadecimal fingerprint of its frame.
    :param quarantined: whether its labels are implausible: they are reused, but count for no reference energy.
    """
    frames, fingerprints = node.frames, _fingerprints(node.frames)
    if frames.energy is None:
        raise ValueError('the data set carries no labels')
    index = {
        'settings': settings.digest,
        BY_ELEMENT: {
            element: settings.by_element[element] for element in node.elements if element in settings.by_element
        },
        'fingerprints': fingerprints,
        'core_seconds': [core_seconds[fingerprint] for fingerprint in fingerprints],
        'energies': frames.energy.tolist(),
        'composition': {chemical_symbols[number]: counts.tolist() for number, counts in composition(frames).items()},
        'quarantined': quarantined,
    }
    node.base.extras.set(LABELS_EXTRA, index)


def index_request(node: orm.WorkChainNode, settings: Settings, frames: Frames) -> None:
    """Write on a work chain what `interrupted_runs` finds its runs by, together with `index_jobs`."""
    index = {
        'settings': settings.digest,
        BY_ELEMENT: dict(settings.by_element),
        'fingerprints': _fingerprints(frames),
    }
    node.base.extras.set(LABELS_EXTRA, index)


def index_jobs(node: orm.WorkChainNode, jobs: Mapping[str, Sequence[int]]) -> None:
    """Write on a work chain which of its frames each of its jobs labels; without, each labels one, by `frame_key`."""
    index = node.base.extras.get(LABELS_EXTRA)
    shares = {**index.get('jobs', {}), **{key: list(rows) for key, rows in jobs.items()}}
    node.base.extras.set(LABELS_EXTRA, {**index, 'jobs': shares})


def stored_labels(settings: Settings, frames: Frames, wanted: Collection[int]) -> dict[int, Origin]:
    """Return the oldest label of each of the frames ``wanted`` that a data set of this profile holds.

    One query, and one dictionary look-up per label that the profile holds with these settings.
    """
    keys = _keys(frames, wanted)
    found: dict[int, tuple[int, int, float]] = {}
    for pk, index in _indices(settings):
        for row, fingerprint in enumerate(index['fingerprints']):
            number = keys.get(fingerprint)
            if number is None or number in found:
                continue
            if settings.agree(index[BY_ELEMENT], _elements(frames, number)):
                found[number] = (pk, row, index['core_seconds'][row])
    nodes = {pk: orm.load_node(pk) for pk in {pk for pk, _, _ in found.values()}}
    return {number: Origin(nodes[pk], row, cost) for number, (pk, row, cost) in sorted(found.items())}


class Run(t.NamedTuple):
    """A run that labelled a frame, the index of the frame among those of the run, and the number of these."""

    node: orm.ProcessNode
    row: int
    frames: int


def interrupted_runs(
    settings: Settings, frames: Frames, wanted: Collection[int], own: int | None
) -> dict[int, list[Run]]:
    """Return the runs, the oldest first, that another labelling made of those of the frames ``wanted``.

    Only of labellings that have not come to their end, killed ones for the most part: what the others
    labelled is in their data sets.

    :param own: key of the work chain that asks.
    """
    keys = _keys(frames, wanted)
    query = orm.QueryBuilder().append(
        orm.WorkChainNode,
        filters={
            'process_type': PROCESS_TYPE,
            f'extras.{LABELS_EXTRA}.settings': settings.digest,
            'attributes.process_state': {'!==': 'finished'},
            'id': {'!==': own},
        },
        project=['*', f'extras.{LABELS_EXTRA}'],
        tag='labelling',
    )
    runs: dict[int, list[Run]] = {}
    for node, index in query.order_by({'labelling': {'ctime': 'asc'}}).all():
        numbers = {
            row: keys[fingerprint]
            for row, fingerprint in enumerate(index['fingerprints'])
            if fingerprint in keys and settings.agree(index[BY_ELEMENT], _elements(frames, keys[fingerprint]))
        }
        if numbers:
            jobs = index.get('jobs') or {frame_key(row): [row] for row in numbers}
            lanes = [child for label, child in children(node).items() if 'lane' in label]
            for key, run in jobs_of(lanes).items():  # type: ignore[arg-type]
                for place, row in enumerate(jobs.get(key, ())):
                    if row in numbers:
                        runs.setdefault(numbers[row], []).append(Run(run, place, len(jobs[key])))
    return runs


def reference_energies(settings: Settings, frames: Frames) -> dict[int, float] | None:
    """Return the energy per atom of each element, by atomic number, in eV: what most labels with these settings say.

    :param frames: labelled frames; with them count all that the profile holds with the same settings.
    :returns: None when there are too few labels to tell.
    """
    own = composition(frames)
    numbers = sorted(own)
    symbols = [chemical_symbols[number] for number in numbers]
    counts = [np.column_stack([own[number] for number in numbers])]
    energies = [np.asarray(frames.energy)]
    for _, index in _indices(settings):
        known = set(index['composition'])
        if not index['quarantined'] and known <= set(symbols) and settings.agree(index[BY_ELEMENT], known):
            size = len(index['energies'])
            counts.append(np.column_stack([index['composition'].get(symbol, [0] * size) for symbol in symbols]))
            energies.append(np.array(index['energies']))
    references = robust_references(np.concatenate(counts), np.concatenate(energies))
    return None if references is None else dict(zip(numbers, references.tolist(), strict=True))


def _indices(settings: Settings) -> list[tuple[int, dict[str, t.Any]]]:
    """Return key and index of every data set of this profile labelled with these settings, the oldest first."""
    query = orm.QueryBuilder().append(
        AtomsDatasetData,
        filters={f'extras.{LABELS_EXTRA}.settings': settings.digest},
        project=['id', f'extras.{LABELS_EXTRA}'],
        tag='dataset',
    )
    return [(pk, index) for pk, index in query.order_by({'dataset': {'ctime': 'asc'}}).all()]


def _fingerprints(frames: Frames) -> list[str]:
    return [fingerprint.hex() for fingerprint in exact_fingerprints(frames)]


def _keys(frames: Frames, wanted: Collection[int]) -> dict[str, int]:
    """Return the index of each of the frames ``wanted`` by its fingerprint."""
    fingerprints = _fingerprints(frames)
    return {fingerprints[index]: index for index in sorted(wanted)}


def _elements(frames: Frames, index: int) -> set[str]:
    return {chemical_symbols[number] for number in frames.numbers[frames.atoms_slice(index)]}


def label_costs(node: AtomsDatasetData) -> list[float]:
    """Return what the label of each frame cost when it was computed, in core-seconds; 0 where nobody knows."""
    index = node.base.extras.get(LABELS_EXTRA, None)
    return [0.0] * node.count if index is None else list(index['core_seconds'])
