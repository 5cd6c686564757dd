"""The properties of one crystal under two methods, DFT and a potential, and whether they agree."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.units import GPa

from aiida_pace.config import PropertyTolerances, ValidationConfig
from aiida_pace.formats.text import counted
from aiida_pace.frames import Frames
from aiida_pace.metrics.phonons import gamma_hessian, phonon_frequencies, phonons_from_forces
from aiida_pace.metrics.properties import (
    EquationOfState,
    PropertyError,
    fit_elastic_constants,
    fit_equation_of_state,
)
from aiida_pace.metrics.responses import fit_force_response, independent_constants, internal_relaxation
from aiida_pace.structures.crystal import SpaceGroup, conventional_lengths, rescaled
from aiida_pace.structures.deformations import (
    commensurate_points,
    displaced_frames,
    needs_displacements,
    strained_frames,
    strains_of,
    volume_frames,
)
from aiida_pace.structures.fingerprint import exact_fingerprints

if t.TYPE_CHECKING:
    from phonopy import Phonopy

__all__ = ('CrystalProperties', 'compare_properties', 'crystal_properties', 'equilibrium', 'judge_properties')

FloatArray = npt.NDArray[np.float64]
Comparison = dict[str, t.Any]
T = t.TypeVar('T')

#: Relative differences of an elastic constant refer to at least this share of the largest constant.
SMALL_CONSTANT = 0.1


@dataclasses.dataclass(frozen=True)
class CrystalProperties:
    """The properties of a crystal by one method; None for a missing property, with the reason in ``errors``.

    :param lattice_constant: ``a`` of the conventional cell at the lowest energy, in Å.
    :param energy: at that volume, in eV/atom.
    :param bulk_modulus: at that volume, in GPa.
    :param volumes: of the frames of the equation of state, in Å³/atom.
    :param energies: of these frames, in eV/atom.
    :param residual_force: largest force in eV/Å on an atom, at the volume nearest to the lowest energy: above 0 when
        free internal coordinates were not relaxed.
    :param residual_shear: largest deviation of the stress from a pressure in GPa, at the same volume: above 0 when a
        free shape was not relaxed.
    :param elastic_constants: independent ones, atoms at rest under strain, by name (C11, ...), in GPa.
    :param phonons: frequencies by special point, rising, in THz, imaginary ones negative.
    :param errors: cause of each missing property, by name.
    """

    lattice_constant: float | None = None
    energy: float | None = None
    bulk_modulus: float | None = None
    volumes: tuple[float, ...] = ()
    energies: tuple[float, ...] = ()
    residual_force: float | None = None
    residual_shear: float | None = None
    elastic_constants: dict[str, float] | None = None
    phonons: dict[str, list[float]] | None = None
    errors: dict[str, str] = dataclasses.field(default_factory=dict)


def equilibrium(crystal: Atoms, config: ValidationConfig, labelled: Frames) -> Atoms:
    """Return the crystal at the volume of lowest energy, from the labels of its `volume_frames`.

    The factor of the lengths is rounded to five digits, so that noise in the energies gives the same frames.

    :raises PropertyError: when the frames do not determine the equation of state.
    """
    volume = _equation_of_state(crystal, config, labelled)[0].volume
    scale = round((volume / crystal.get_volume() * len(crystal)) ** (1 / 3), 5)
    return rescaled(crystal, scale**3)


def crystal_properties(
    crystal: Atoms, config: ValidationConfig, volumes: Frames, at_rest: Atoms | None, responses: Frames | None
) -> CrystalProperties:
    """Return the properties of a crystal from labelled frames, of DFT or of a potential.

    :param crystal: primitive cell that the frames ``volumes`` were made from.
    :param volumes: frames with energies, those of `volume_frames` among them.
    :param at_rest: `equilibrium` by DFT, whatever method labelled the frames: elastic constants and phonons of both
        methods belong to the same structure and frames.
    :param responses: frames with forces and stresses, those of `response_frames` of ``at_rest`` among them.
    """
    errors: dict[str, str] = {}

    def attempt(name: str, compute: Callable[[], T]) -> T | None:
        try:
            return compute()
        except PropertyError as exception:
            errors[name] = str(exception)
            return None

    properties: dict[str, t.Any] = {}
    if found := attempt('equation_of_state', lambda: _equation_of_state(crystal, config, volumes)):
        curve, indices, volume, energy = found
        nearest = indices[int(np.argmin(np.abs(volume - curve.volume)))]
        length = conventional_lengths(crystal, config.symmetry_tolerance)[0]
        properties = {
            'lattice_constant': curve.lattice_constant(crystal.get_volume() / len(crystal), length),
            'energy': curve.energy,
            'bulk_modulus': curve.bulk_modulus_gpa,
            'volumes': tuple(volume.tolist()),
            'energies': tuple(energy.tolist()),
            'residual_force': float(np.linalg.norm(_forces(volumes, [nearest])[0], axis=1).max()),
            'residual_shear': None if volumes.stress is None else _shear(volumes.stress[nearest]),
        }
    if at_rest is not None and responses is not None:
        phonons = None
        if needs_displacements(at_rest, config):
            phonons = attempt('phonons', lambda: _phonons(at_rest, config, responses))
        if config.phonons and phonons is not None:
            frequencies = phonon_frequencies(phonons, commensurate_points(at_rest, config))
            properties['phonons'] = {name: row.tolist() for name, row in frequencies.items()}
        if config.elastic_constants:
            properties['elastic_constants'] = attempt(
                'elastic_constants', lambda: _elastic_constants(at_rest, config, responses, phonons)
            )
    return CrystalProperties(**properties, errors=errors)


def compare_properties(dft: CrystalProperties, potential: CrystalProperties) -> Comparison:
    """Return both values of every property and the difference, potential minus DFT, also in % except for phonons.

    A property that DFT lacks is left out; one that the potential lacks is None for the potential.
    """
    comparison: Comparison = {
        name: _pair(getattr(dft, name), getattr(potential, name))
        for name in ('lattice_constant', 'bulk_modulus')
        if getattr(dft, name) is not None
    }
    if dft.volumes:
        comparison['equation_of_state'] = {
            method: {
                'energy': found.energy,
                'volumes': list(found.volumes),
                'energies': list(found.energies),
                'residual_force': found.residual_force,
                'residual_shear': found.residual_shear,
            }
            for method, found in (('dft', dft), ('potential', potential))
        }
    if dft.elastic_constants is not None:
        floor = SMALL_CONSTANT * max(abs(value) for value in dft.elastic_constants.values())
        comparison['elastic_constants'] = {
            name: _pair(value, (potential.elastic_constants or {}).get(name), floor)
            for name, value in dft.elastic_constants.items()
        }
    if dft.phonons is not None:
        comparison['phonons'] = {}
        for name, row in dft.phonons.items():
            other = (potential.phonons or {}).get(name)
            difference = None if other is None else (np.array(other) - row).tolist()
            comparison['phonons'][name] = {'dft': row, 'potential': other, 'difference': difference}
    return comparison


def judge_properties(
    comparison: Comparison, tolerances: PropertyTolerances, config: ValidationConfig
) -> dict[str, Comparison]:
    """Return, for each computed property with a tolerance, the largest deviation, the tolerance, and whether it passed.

    :param comparison: of `compare_properties`; a property with a missing value does not pass.
    """
    elastic = comparison.get('elastic_constants', {}).values()
    phonons = comparison.get('phonons', {}).values()
    deviations: dict[str, list[float | None]] = {
        'lattice_constant': [comparison.get('lattice_constant', {}).get('percent')],
        'bulk_modulus': [comparison.get('bulk_modulus', {}).get('percent')],
        'elastic_constants': [pair['percent'] for pair in elastic],
        'phonons': [_largest(point['difference'] or [None]) for point in phonons],
    }
    gates = {}
    for name, tolerance in tolerances.model_dump().items():
        if tolerance is not None and getattr(config, name, True):
            largest = _largest(deviations[name] or [None])
            passed = largest is not None and largest <= tolerance
            gates[name] = {'deviation': largest, 'tolerance': tolerance, 'passed': passed}
    return gates


def _pair(dft: float, potential: float | None, floor: float = 0.0) -> Comparison:
    """Return two values with their difference, also in % of the DFT value, or of ``floor`` if that is larger."""
    if potential is None:
        return {'dft': dft, 'potential': None, 'difference': None, 'percent': None}
    difference = potential - dft
    percent = 100 * difference / max(abs(dft), floor)
    return {'dft': dft, 'potential': potential, 'difference': difference, 'percent': percent}


def _largest(values: Iterable[float | None]) -> float | None:
    """Return the largest absolute value; None when a value is missing."""
    numbers = list(values)
    return None if None in numbers else max(abs(t.cast(float, number)) for number in numbers)


def _equation_of_state(
    crystal: Atoms, config: ValidationConfig, labelled: Frames
) -> tuple[EquationOfState, list[int], FloatArray, FloatArray]:
    """Return the fit, and the indices in ``labelled``, volumes in Å³/atom and energies in eV/atom of its frames."""
    frames = volume_frames(crystal, config)
    found = _find(frames, labelled)
    volumes = np.array([frames[index].get_volume() for index in found]) / len(crystal)
    assert labelled.energy is not None, 'the caller gives labelled frames'
    energies = labelled.energy[list(found.values())] / len(crystal)
    return fit_equation_of_state(volumes, energies), list(found.values()), volumes, energies


def _shear(stress: FloatArray) -> float:
    """Return the largest component in GPa of a stress (6,) in eV/Å³ without its pressure."""
    return float(np.abs(stress - stress[:3].mean() * (np.arange(6) < 3)).max() / GPa)


def _phonons(at_rest: Atoms, config: ValidationConfig, labelled: Frames) -> Phonopy:
    frames = displaced_frames(at_rest, config)
    found = _find(frames, labelled)
    if len(found) < len(frames):
        missing = len(frames) - len(found)
        raise PropertyError(f'labels are missing for {missing} of {counted(len(frames), "displaced frame")}')
    return phonons_from_forces(at_rest, config, _forces(labelled, found.values()))


def _elastic_constants(
    at_rest: Atoms, config: ValidationConfig, labelled: Frames, phonons: Phonopy | None
) -> dict[str, float]:
    if phonons is None and len(at_rest) > 1:
        raise PropertyError(
            'without the forces of displaced frames the internal relaxation under strain is not determined'
        )
    group = SpaceGroup.of(at_rest, config.symmetry_tolerance)
    frames = strained_frames(at_rest, config)
    found = _find(frames, labelled)
    strains = strains_of([frames[index] for index in found], at_rest)
    if not found or labelled.stress is None:
        raise PropertyError('no strained frame has a stress')
    constants = fit_elastic_constants(strains, labelled.stress[list(found.values())], group.rotations)
    if phonons is not None:
        response = fit_force_response(strains, _forces(labelled, found.values()), group)
        constants = constants - internal_relaxation(response, gamma_hessian(phonons), at_rest.get_volume())
    return {
        f'C{row + 1}{column + 1}': float(constants[row, column])
        for row, column in independent_constants(group.rotations)
    }


def _forces(labelled: Frames, indices: Iterable[int]) -> list[FloatArray]:
    assert labelled.forces is not None, 'the caller gives labelled frames'
    return [labelled.forces[labelled.atoms_slice(index)] for index in indices]


def _find(images: list[Atoms], labelled: Frames) -> Mapping[int, int]:
    """Return, by index of ``images``, the index of the same frame in ``labelled``; missing frames are left out.

    Frames are found by fingerprint, not by position: some may lack a label, and two crystals may share frames.
    """
    places = {digest: index for index, digest in enumerate(exact_fingerprints(labelled))}
    digests = exact_fingerprints(Frames.from_atoms(images))
    return {index: places[digest] for index, digest in enumerate(digests) if digest in places}
