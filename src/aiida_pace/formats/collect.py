"""Import of structures into one set of frames, with the causes of all refusals; no AiiDA."""

from __future__ import annotations

import dataclasses
import itertools
import re
import typing as t
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from ase import Atoms

from aiida_pace.formats.images import Fault, Image, shown
from aiida_pace.formats.labels import (
    ISOLATED_ATOM,
    LabelKeys,
    choose_keys,
    label_columns,
    label_like,
    says_isolated,
    volume_of,
)
from aiida_pace.formats.units import foreign_unit, units_in
from aiida_pace.frames import OPTIONAL_COLUMNS, Frames
from aiida_pace.structures.fingerprint import exact_fingerprints
from aiida_pace.structures.plausibility import implausible_frames

__all__ = ('Imported', 'Refusal', 'collect')

#: Keys of `info` and arrays of a structure that are imported besides its labels.
INFO = {'label_uuid', 'origin', 'weight'}
ARRAYS = {'force_weight', 'grade', 'numbers', 'positions'}

#: Largest number of keys in a message.
MAX_KEYS = 8

#: Largest difference of equal labels of a structure, in eV or eV/Å.
LABEL_TOLERANCE = 1e-6


@dataclasses.dataclass(frozen=True)
class Refusal:
    """A frame that was not imported: the ``index``-th of its source, counted from 0.

    :param place: the place in the source, and the text there.
    :param kind: ``fault`` when the source is wrong, ``implausible`` when a guard refused the frame, ``left out`` when
        the frame is correct but does not belong in the set.
    """

    source: str
    index: int
    cause: str
    place: str = ''
    kind: t.Literal['fault', 'implausible', 'left out'] = 'fault'


@dataclasses.dataclass(frozen=True)
class Imported:
    """The result of an import: frames without duplicates, with labels for all or for none.

    :param frames: the imported frames, in the order of the sources; may be empty.
    :param refusals: the frames that were not imported.
    :param ignored: by name of the ignored data, the number of imported frames that had them.
    :param notes: sentences on the interpretation of the labels.
    """

    frames: Frames
    refusals: tuple[Refusal, ...]
    ignored: dict[str, int]
    notes: tuple[str, ...] = ()

    def refused(self, kind: str) -> tuple[Refusal, ...]:
        """Return the refusals of one kind."""
        return tuple(refusal for refusal in self.refusals if refusal.kind == kind)


@dataclasses.dataclass(frozen=True)
class _Candidate:
    """One readable frame, the names of its ignored data, and of the labels used."""

    source: str
    index: int
    place: str
    frame: Frames
    ignored: frozenset[str]
    used: Mapping[str, str]
    remarks: frozenset[str]

    def refuse(self, cause: str, place: str = '', kind: t.Literal['implausible', 'left out'] = 'left out') -> Refusal:
        """Return the refusal of the frame."""
        return Refusal(self.source, self.index, cause, place or self.place, kind)


class _LeftOutError(ValueError):
    """A frame that is correct but does not belong in the set."""


def collect(
    images: Iterable[tuple[str, int, Image | Fault]],
    *,
    labelled: bool | None = None,
    keys: LabelKeys | None = None,
    origin: str = '',
    guards: bool = True,
) -> Imported:
    """Return the frames that fit together in one set, and the refusals.

    :param images: source, index in the source, and the structure or fault; the sources one after another.
    :param labelled: True imports labelled frames only, False imports all without labels, None imports labelled frames
        only when there are any, else all.
    :param keys: names of the labels; any name means labelled frames only.
    :param origin: origin of the frames that have none.
    :param guards: whether to refuse implausible frames (`structures.plausibility`).
    """
    keys = keys or LabelKeys()
    if labelled is None and (keys.energy or keys.forces or keys.stress or keys.virial):
        labelled = True
    candidates: list[_Candidate] = []
    refusals: list[Refusal] = []
    for source, group in itertools.groupby(images, key=lambda image: image[0]):
        taken, refused = _read_source(source, list(group), labelled, keys, origin)
        candidates += taken
        refusals += refused
    if labelled or any(candidate.frame.is_labelled for candidate in candidates):
        cause = 'no energy and forces' if labelled else 'no energy and forces, which other frames have'
        refusals += [candidate.refuse(cause) for candidate in candidates if not candidate.frame.is_labelled]
        candidates = [candidate for candidate in candidates if candidate.frame.is_labelled]
    if guards:
        candidates, implausible = _plausible(candidates)
        refusals += implausible
    candidates, repeated = _distinct(candidates)
    refusals += repeated
    frames = Frames.concatenate(candidate.frame for candidate in candidates)
    lost = set(OPTIONAL_COLUMNS) - set(frames.columns())
    ignored = Counter(
        name for candidate in candidates for name in candidate.ignored | (lost & set(candidate.frame.columns()))
    )
    return Imported(frames, tuple(refusals), dict(sorted(ignored.items())), _notes(candidates, frames))


def _read_source(
    source: str, images: Sequence[tuple[str, int, Image | Fault]], labelled: bool | None, keys: LabelKeys, origin: str
) -> tuple[list[_Candidate], list[Refusal]]:
    """Return the usable frames of one source, and the refusals of the others."""
    candidates: list[_Candidate] = []
    refusals: list[Refusal] = []
    ambiguous, is_open = '', keys.is_open
    if labelled is not False:
        try:
            found = (image.atoms for _, _, image in images if isinstance(image, Image))
            keys = choose_keys(((len(atoms), set(map(str, _carried(atoms)))) for atoms in found), keys)
        except ValueError as error:
            ambiguous = str(error)
    for _, index, image in images:
        if isinstance(image, Fault):
            refusals.append(Refusal(source, index, image.cause, image.place))
            continue
        try:
            if ambiguous:
                raise ValueError(ambiguous)
            candidates.append(_Candidate(source, index, image.place, *_frame(image, labelled, keys, origin, is_open)))
        except _LeftOutError as error:
            refusals.append(Refusal(source, index, str(error), image.place, 'left out'))
        except (OverflowError, TypeError, ValueError) as error:
            refusals.append(Refusal(source, index, re.sub('^frame 0:? ', '', str(error)), image.place))
    return candidates, refusals


def _results(atoms: Atoms) -> dict[str, t.Any]:
    return {} if atoms.calc is None else {k: v for k, v in atoms.calc.results.items() if v is not None}


def _carried(atoms: Atoms) -> dict[str, t.Any]:
    """Return all arrays, ``info`` and results of a structure."""
    return {**atoms.arrays, **atoms.info, **_results(atoms)}


def _frame(
    image: Image, labelled: bool | None, keys: LabelKeys, origin: str, is_open: bool
) -> tuple[Frames, frozenset[str], Mapping[str, str], frozenset[str]]:
    """Return a structure as a set of one frame, and the other fields of `_Candidate`.

    :raises ValueError: when the structure cannot be imported.
    """
    atoms, info = image.atoms, image.atoms.info
    results, carried = _results(atoms), _carried(atoms)
    ignored = {str(name) for name in carried} - INFO - ARRAYS
    named = {name: key for name, key in keys.names().items() if key in ignored}
    if labelled is False or named.keys() <= {'stress', 'virial'}:
        if labelled is not False:
            _refuse_unknown_labels({name: carried[name] for name in carried if name in ignored}, len(atoms))
        named = {}
    if unit := foreign_unit({**image.units, **units_in(info)}, named):
        raise ValueError(unit)
    for key in named.values():
        _refuse_contradiction(key, atoms, results, in_any_case=is_open)
    ignored -= set(named.values())
    remarks: set[str] = set()
    labels = {name: carried[key] for name, key in named.items()}
    if len(atoms) == 1 and 'energy' in labels and 'forces' not in labels:
        labels['forces'] = np.zeros((1, 3))
        remarks.add('forces')
    if ('energy' in labels) != ('forces' in labels):
        raise _LeftOutError(
            _half(named, {name: carried[name] for name in carried if name in ignored}, len(atoms), keys)
        )
    if len(atoms) == 1 and says_isolated(info):
        origin = ISOLATED_ATOM
        remarks.add('isolated')
    if atoms.constraints:
        ignored.add('constraints')
    remarks |= {
        'six' for name in ('stress', 'virial') if name in labels and np.size(labels[name]) == 6 and name not in results
    }
    frame = Frames(
        offsets=np.array([0, len(atoms)]),
        numbers=atoms.numbers,
        positions=atoms.positions,
        cells=atoms.cell.array[None],
        pbc=atoms.pbc[None],
        force_weight=atoms.arrays.get('force_weight', np.ones(len(atoms))),
        weight=np.array([info.get('weight', 1.0)]),
        origin=np.array([shown(info.get('origin', origin), None)]),
        label_uuid=np.array([shown(info.get('label_uuid', ''), None)]),
        grade=atoms.arrays.get('grade'),
        **label_columns(labels, len(atoms), volume_of(atoms.cell.array)),
    )
    used = [key for key in named.values() if key in results]
    if used and atoms.calc.calculation_required(atoms, used):
        raise ValueError('the calculator holds results of another structure')
    return frame, frozenset(map(shown, ignored)), named, frozenset(remarks)


def _refuse_unknown_labels(others: Mapping[str, t.Any], count: int) -> None:
    """Refuse a structure of ``count`` atoms when its other data ``others`` look like labels."""
    energies, forces = label_like(others, count)
    if energies and forces:
        raise _LeftOutError(
            f'no labels with known names, but {_listed([*energies, *forces])}: name the labels with `--energy-key` and '
            '`--forces-key`, or import without labels with `--unlabelled`'
        )


def _half(named: Mapping[str, str], others: Mapping[str, t.Any], count: int, keys: LabelKeys) -> str:
    """Return the message on an energy without forces or forces without an energy, with a remedy."""
    present, missing = ('energy', 'forces') if 'energy' in named else ('forces', 'energy')
    alike = label_like(others, count)[missing == 'forces']
    remedy = f'; there is {_listed(alike)}: give `--{missing}-key`' if alike else ''
    if others and not alike:
        remedy = f'; other keys are {_listed(sorted(others)[:MAX_KEYS])}: import without labels with `--unlabelled`'
    what = 'an energy without forces' if present == 'energy' else 'forces without an energy'
    expected = '' if not remedy else f' (`{shown(named[present])}` without `{shown(keys.names()[missing])}`)'
    return f'{what}{expected}{remedy}'


def _listed(names: Iterable[str]) -> str:
    return ', '.join(f'`{shown(name)}`' for name in names)


def _refuse_contradiction(key: str, atoms: Atoms, results: Mapping[str, t.Any], *, in_any_case: bool) -> None:
    """Refuse a label that is given twice with different numbers, maybe under names that differ in case."""
    values = [
        np.ravel(holder[name])
        for holder in (atoms.arrays, atoms.info, results)
        for name in holder
        if name == key or (in_any_case and str(name).lower() == key.lower())
    ]
    numeric = [value for value in values if value.dtype.kind in 'fiu' and value.size == values[-1].size]
    if any(not np.array_equal(value, numeric[0], equal_nan=True) for value in numeric[1:]):
        raise ValueError(f'`{shown(key)}` is given twice, with different numbers')


def _plausible(candidates: list[_Candidate]) -> tuple[list[_Candidate], list[Refusal]]:
    """Return the candidates that pass the guards, and the refusals of the others."""
    parts = [candidate.frame for candidate in candidates]
    with_stress = [index for index, part in enumerate(parts) if part.stress is not None]
    causes = implausible_frames(Frames.concatenate(parts))
    if 0 < len(with_stress) < len(parts):  # `concatenate` drops stresses that only some frames have
        stresses = implausible_frames(Frames.concatenate(parts[index] for index in with_stress))
        for index, cause in stresses.items():
            causes.setdefault(with_stress[index], cause)
    refusals = [
        candidates[index].refuse(cause, '; '.join(filter(None, (candidates[index].place, detail))), 'implausible')
        for index, (cause, detail) in sorted(causes.items())
    ]
    return [candidate for index, candidate in enumerate(candidates) if index not in causes], refusals


def _distinct(candidates: list[_Candidate]) -> tuple[list[_Candidate], list[Refusal]]:
    """Return the candidates without repeated structures, and the refusals of the repeated ones."""
    first: dict[bytes, _Candidate] = {}
    refusals = []
    for candidate in candidates:
        known = first.setdefault(exact_fingerprints(candidate.frame)[0], candidate)
        if known is not candidate:
            contrary = '' if _labels_agree(known.frame, candidate.frame) else ', with other labels'
            refusals.append(candidate.refuse(f'repeats an earlier frame{contrary}'))
    return list(first.values()), refusals


def _labels_agree(one: Frames, other: Frames) -> bool:
    """Return whether two frames of the same structure have the same energy and forces."""
    if one.energy is None or one.forces is None or other.energy is None or other.forces is None:
        return True
    pairs = ((one.energy, other.energy), (one.forces, other.forces))
    return all(np.allclose(mine, its, rtol=0, atol=LABEL_TOLERANCE) for mine, its in pairs)


def _notes(candidates: Sequence[_Candidate], frames: Frames) -> tuple[str, ...]:
    """Return sentences on the interpretation of the labels, where it is not obvious."""
    notes = []
    used = Counter(candidate_key for candidate in candidates for candidate_key in candidate.used.items())
    if any(name != key for name, key in used):
        words = ', '.join(f'{name} from `{shown(key)}`' for name, key in sorted(used))
        notes.append(f'Labels: {words}.')
    if frames.stress is not None and len(frames):
        gigapascal = frames.stress[:, :3] * 160.2176634
        virial = ', made from virials: minus virial over volume' if any(name == 'virial' for name, _ in used) else ''
        order = ', six numbers read as xx yy zz yz xz xy' if any('six' in one.remarks for one in candidates) else ''
        notes.append(
            f'Stresses xx, yy, zz from {gigapascal.min():.4g} to {gigapascal.max():.4g} GPa, negative under compression'
            f'{virial}{order}.'
        )
    isolated = sum('isolated' in candidate.remarks for candidate in candidates)
    if isolated:
        notes.append(f'Frames named as isolated atoms, which set the reference energies: {isolated}.')
    without = sum('forces' in candidate.remarks for candidate in candidates)
    if without:
        notes.append(f'Frames of 1 atom without forces, which are 0 by symmetry: {without}.')
    return tuple(notes)
