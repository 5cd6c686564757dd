"""Settings of pw.x for an isolated atom; no AiiDA."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

import numpy as np
from ase.data import atomic_numbers, ground_state_magnetic_moments

__all__ = ('isolated_atom_parameters',)

#: Width of the smearing for an atom, in Ry. The electrons of an open shell share degenerate levels, and the smearing
#: changes the energy in proportion to the width: by 10 meV for the p electrons of Si and Al.
DEGAUSS = 0.001

#: The same for atoms with d or f electrons: their levels cross s levels, and Fe did not converge with a smaller width.
DEGAUSS_D = 0.01
WITH_D = frozenset({*range(21, 31), *range(39, 49), *range(57, 81), *range(89, 113)})

#: The levels of an atom are far apart or degenerate: with a larger value the first SCF cycles overshoot.
MIXING_BETA = 0.3

#: An open d shell takes some 50 cycles, and cycles on one atom are cheap.
MAX_STEPS = 200


def isolated_atom_parameters(parameters: Mapping[str, t.Any], element: str, valence: int | None) -> dict[str, t.Any]:
    """Return the settings of pw.x for an atom alone in a box, from the settings for all structures.

    An open shell is spin polarised, with the moment of the ground state of the free atom (Hund's rules; ASE's table),
    unless the settings give ``nspin`` or ``noncolin``. The smearing is narrow, because pw.x adds the smearing
    contribution ``-TS``, meant for metals, to the energy. Equal occupations of degenerate levels make the atom
    spherical, as in the reference data of NIST (Kotochigova et al., Phys. Rev. A 55, 191 (1997)).

    :param parameters: namelists of pw.x, by name; they are not changed.
    :param element: the chemical symbol, also the name of the kind.
    :param valence: number of electrons of the pseudopotential; None when it is not known.
    """
    system, electrons = dict(parameters.get('SYSTEM', {})), dict(parameters.get('ELECTRONS', {}))
    number = atomic_numbers[element]
    if system.get('occupations') != 'fixed':
        width = DEGAUSS_D if number in WITH_D else DEGAUSS
        degauss = min(width, float(system.get('degauss', width)))
        system |= {'occupations': 'smearing', 'smearing': 'gaussian', 'degauss': degauss}
    electrons['mixing_beta'] = min(MIXING_BETA, float(electrons.get('mixing_beta', MIXING_BETA)))
    electrons['electron_maxstep'] = max(MAX_STEPS, int(electrons.get('electron_maxstep', MAX_STEPS)))
    moment = int(np.nan_to_num(ground_state_magnetic_moments[number]))
    # When the core holds electrons of the open shell, the moment is not that of the free atom: pw.x finds it.
    is_possible = valence is not None and moment <= valence and (valence - moment) % 2 == 0
    if moment and 'nspin' not in system and not system.get('noncolin'):
        system['nspin'] = 2
        system['starting_magnetization'] = {element: moment / valence if is_possible and valence else 0.5}
        if is_possible:
            system['tot_magnetization'] = moment
    return {**parameters, 'SYSTEM': system, 'ELECTRONS': electrons}
