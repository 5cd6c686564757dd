"""Labels of imported structures: names, shapes and signs; no AiiDA."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from aiida_pace.formats.images import shown

__all__ = ('ISOLATED_ATOM', 'LabelKeys', 'choose_keys', 'label_columns', 'label_like', 'says_isolated', 'volume_of')

#: Prefixes and suffixes of names of DFT labels; predictions of a potential are not labels.
SOURCES = '(?:dft|ref|reference|qm|vasp|castep|pbe|qe|espresso)'
NAMES = {
    'energy': re.compile(r'(?:tot(?:al)?)?energy|etot|toten'),
    'forces': re.compile(r'(?:tot(?:al)?)?forces?'),
    'stress': re.compile(r'stress(?:es)?'),
    'virial': re.compile(r'virials?'),
}

#: Names that may be those of labels, which the user must confirm.
LIKE_ENERGY = re.compile(r'(?!.*(per_?atom|formation|cohesive|cut|kin))(.*(energ|toten|etot).*|e|e0|e_?pot)')
LIKE_FORCES = re.compile(r'.*(forc|grad).*|f|frc|fxyz')

#: Origin of frames of one atom that set the reference energies, whatever their periodic directions.
ISOLATED_ATOM = 'isolated_atom'

#: Names of frames with one atom that set the reference energies.
ISOLATED = re.compile(r'isolated|free_?atom|single_?atom', re.IGNORECASE)
KINDS = ('config_type', 'config_name', 'configtype')

#: Largest asymmetry of a symmetric tensor, relative to its largest component.
ASYMMETRY = 1e-3


@dataclasses.dataclass(frozen=True)
class LabelKeys:
    """The names of the labels, in the results of a calculator, in ``info`` or in arrays.

    Units and signs are always those of ASE: eV, eV/Å, and eV/Å³, negative under compression. None means the name found
    in the file: ASE's, or a well-known pair such as ``REF_energy`` and ``REF_forces``.

    :param stress: None for the stress whose name matches energy and forces; an empty text for no stress.
    :param virial: minus the stress times the volume, in eV; used instead of a stress.
    """

    energy: str | None = None
    forces: str | None = None
    stress: str | None = None
    virial: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether neither energy nor forces are named."""
        return self.energy is None and self.forces is None

    def names(self) -> dict[str, str]:
        """Return the name of each label to look for."""
        names = {'energy': self.energy or 'energy', 'forces': self.forces or 'forces'}
        if self.virial:
            names['virial'] = self.virial
        elif self.stress is not None:
            names |= {'stress': self.stress} if self.stress else {}
        elif names == {'energy': 'energy', 'forces': 'forces'}:
            names['stress'] = 'stress'
        return names


def _source(name: str, kind: str) -> str | None:
    """Return the source in the name of a label, in lower case: empty or, say, `ref`; None when it is not a label."""
    bare = re.sub('[ _-]', '', name.lower())
    for pattern in (
        f'(?P<source>{SOURCES}?)(?:{NAMES[kind].pattern})',
        f'(?:{NAMES[kind].pattern})(?P<source>{SOURCES})',
    ):
        if found := re.fullmatch(pattern, bare):
            return found['source']
    return None


def choose_keys(images: Iterable[tuple[int, Collection[str]]], keys: LabelKeys) -> LabelKeys:
    """Return ``keys`` with the names of the labels in one file, where ``keys`` leaves them open.

    :param images: the number of atoms of each structure, and the names of all its data.
    :raises ValueError: when the file has several well-known pairs of names, and none of them is ASE's.
    """
    if not keys.is_open:
        return keys
    pairs: dict[str, dict[str, set[str]]] = {}
    alone: dict[str, dict[str, set[str]]] = {}
    for count, names in images:
        for source, found in _by_source(names).items():
            if 'energy' in found and ('forces' in found or count == 1):
                known = (pairs if 'forces' in found else alone).setdefault(source, {})
                for kind, these in found.items():
                    known.setdefault(kind, set()).update(these)
    pairs = pairs or alone  # isolated atoms may lack forces, which are 0
    if not pairs:
        return keys
    if len(pairs) > 1 and '' not in pairs:
        words = '; '.join(_listed(set().union(*pairs[source].values())) for source in sorted(pairs))
        raise ValueError(f'labels with several names ({words}): choose with `--energy-key` and `--forces-key`')
    chosen = pairs.get('') or next(iter(pairs.values()))
    stress = _one(chosen['stress'], 'stress') if 'stress' in chosen else ''
    return dataclasses.replace(
        keys,
        energy=_one(chosen['energy'], 'energy'),
        forces=_one(chosen.get('forces', {'forces'}), 'forces'),
        stress=keys.stress if keys.stress is not None or keys.virial else stress,
    )


def _by_source(names: Iterable[str]) -> dict[str, dict[str, set[str]]]:
    """Return the names of labels, by source and by kind."""
    found: dict[str, dict[str, set[str]]] = {}
    for name in names:
        for kind in ('energy', 'forces', 'stress'):
            if (source := _source(name, kind)) is not None:
                found.setdefault(source, {}).setdefault(kind, set()).add(name)
    return found


def _one(names: Collection[str], usual: str) -> str:
    """Return the usual name if present, else the only name.

    :raises ValueError: when there are several others.
    """
    if usual in names:
        return usual
    if len(names) > 1:
        raise ValueError(f'several names for the {usual} ({_listed(names)}): choose with `--{usual}-key`')
    return next(iter(names))


def _listed(names: Iterable[str]) -> str:
    return ', '.join(f'`{shown(name)}`' for name in sorted(names))


def label_like(carried: Mapping[str, t.Any], count: int) -> tuple[list[str], list[str]]:
    """Return the names of possible energies and of possible forces in the data of a structure of ``count`` atoms."""
    shapes = {name: _shape(value) for name, value in carried.items()}
    energies = [name for name in sorted(shapes) if LIKE_ENERGY.fullmatch(name.lower()) and shapes[name] in ((), (1,))]
    forces = [name for name in sorted(shapes) if LIKE_FORCES.fullmatch(name.lower()) and shapes[name] == (count, 3)]
    return energies, forces


def _shape(value: t.Any) -> tuple[int, ...] | None:
    """Return the shape of numbers, or None for anything else."""
    try:
        array = np.asarray(value)
    except ValueError:
        return None
    return array.shape if array.dtype.kind in 'fiu' else None


def says_isolated(info: Mapping[str, t.Any]) -> bool:
    """Return whether a structure is named an isolated atom, as in files of GAP and MACE."""
    return any(
        isinstance(value, str) and ISOLATED.search(value) is not None
        for key, value in info.items()
        if str(key).lower() in KINDS
    )


def volume_of(cell: npt.NDArray[np.float64]) -> float:
    """Return the volume of a cell (3, 3), in Å³."""
    return float(abs(np.linalg.det(cell)))


def label_columns(labels: Mapping[str, t.Any], count: int, volume: float) -> dict[str, npt.NDArray[t.Any]]:
    """Return the labels of one structure of ``count`` atoms as columns; a virial becomes a stress.

    Tensors have nine numbers, or six in Voigt's order xx yy zz yz xz xy.

    :param volume: of the cell in Å³, 0 for none: then a virial is left out.
    :raises ValueError: when a label is not numeric or not finite, has the wrong shape, or is not symmetric.
    """
    shapes: dict[str, Sequence[tuple[int, ...]]] = {
        'energy': [(), (1,)],
        'forces': [(count, 3)],
        'stress': [(6,), (3, 3), (9,)],
        'virial': [(6,), (3, 3), (9,)],
    }
    columns: dict[str, npt.NDArray[t.Any]] = {}
    for name, value in labels.items():
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise ValueError(f'`{name}` is not numeric') from error
        if array.dtype.kind not in 'fiu':
            raise ValueError(f'`{name}` is not numeric{_example(array)}')
        if array.shape not in shapes[name]:
            expected = ' or '.join(map(str, shapes[name]))
            raise ValueError(f'`{name}` has the shape {array.shape}, expected {expected}')
        if not np.isfinite(array).all():
            raise ValueError(f'`{name}` holds a number that is not finite (NaN or infinity)')
        if name in ('stress', 'virial'):
            array = _voigt(name, array)
        if name != 'virial':
            columns[name] = (
                array.reshape(-1, 3)
                if name == 'forces'
                else array.reshape((1, *array.shape[-1:]) if name == 'stress' else 1)
            )
        elif volume > 0:
            columns['stress'] = -array[None] / volume
    return columns


def _example(array: npt.NDArray[t.Any]) -> str:
    """Return the first text of an array that is not a number, for a message."""
    for text in array.ravel().tolist():
        if isinstance(text, str):
            try:
                float(text)
            except ValueError:
                return f': `{shown(text)}`'
    return ''


def _voigt(name: str, array: npt.NDArray[t.Any]) -> npt.NDArray[t.Any]:
    """Return the six numbers of a symmetric tensor, xx yy zz yz xz xy."""
    if array.size == 6:
        return array
    tensor = array.reshape(3, 3).astype('f8')
    if np.abs(tensor / 2 - tensor.T / 2).max() > ASYMMETRY * np.abs(tensor).max() / 2:
        raise ValueError(f'`{name}` is not a symmetric tensor')
    return tensor[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
