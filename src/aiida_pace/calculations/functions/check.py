"""Calcfunctions of the pre-flight check: what engines are tried on, and what came of it."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

from aiida_pace.data.active_set import AceActiveSetData
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.frames import Frames
from aiida_pace.structures.check_structures import even_electron_cell, labelled_crystal
from aiida_pace.training.placeholder import placeholder_active_set, placeholder_potential

__all__ = ('collect_checks', 'make_check_structures', 'make_placeholder_active_set', 'make_placeholder_potential')


@calcfunction
def make_check_structures(elements: orm.List, covered: orm.List, cutoff: orm.Float) -> dict[str, orm.Data]:
    """Return what engines are tried on: ``training``, one labelled frame, ``pool``, two more, ``structure``, ``cell``.

    Each element has more atoms in ``training`` than a basis of 8 functions, or the placeholder, has functions for it.

    :param covered: the elements with pseudopotentials: of these is ``cell``, which is absent without any.
    :param cutoff: of the potential, in Å.
    """
    symbols = elements.get_list()
    per_element = 8 + 4 * len(symbols)
    first, *others = (labelled_crystal(symbols, per_element, cutoff.value, seed) for seed in range(3))
    made = {
        'training': AtomsDatasetData(Frames.from_atoms([first], origin='check')),
        'pool': AtomsDatasetData(Frames.from_atoms(others, origin='check')),
        'structure': orm.StructureData(ase=first),
    }
    return made | ({'cell': orm.StructureData(ase=even_electron_cell(covered.get_list()))} if len(covered) else {})


@calcfunction
def make_placeholder_potential(elements: orm.List, cutoff: orm.Float) -> AcePotentialData:
    """Return a weak pair potential, for engines that wait for one when the training failed."""
    return AcePotentialData(placeholder_potential(elements.get_list(), cutoff.value).encode())


@calcfunction
def make_placeholder_active_set(potential: AcePotentialData) -> AceActiveSetData:
    """Return an active set of unit matrices, for engines that wait for one when making one failed."""
    return AceActiveSetData(placeholder_active_set(potential.functions_per_element), potential=potential)


@calcfunction
def collect_checks(checks: orm.List) -> orm.Dict:
    """Return the checks, ``status`` of the worst, and how many there are of each status."""
    found = checks.get_list()
    counts = {
        status: sum(check['status'] == status for check in found) for status in ('ok', 'warning', 'failed', 'skipped')
    }
    status = 'failed' if counts['failed'] else 'warning' if counts['warning'] else 'ok'
    return orm.Dict({'checks': found, 'status': status, **counts})
