"""Settings of pw.x that depend on the structure: what an isolated atom needs; no AiiDA."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

import numpy as np
from ase.data import atomic_numbers, ground_state_magnetic_moments

__all__ = ('isolated_atom_parameters',)

#: Width of the smearing of the levels of an atom, in Ry. The electrons of an open shell share degenerate levels, and
#: what the smearing adds to the energy is in proportion to its width: 10 meV for the p electrons of Si and Al.
DEGAUSS = 0.001

#: The same for atoms with d or f electrons: their levels cross those of s, and pw.x found no end with less for Fe.
DEGAUSS_D = 0.01
WITH_D = frozenset({*range(21, 31), *range(39, 49), *range(57, 81), *range(89, 113)})

#: The levels of an atom are far apart or degenerate: with a larger step the first cycles overshoot.
MIXING_BETA = 0.3

#: An open d shell takes some 50 cycles, and cycles on one atom are cheap.
MAX_STEPS = 200


def isolated_atom_parameters(parameters: Mapping[str, t.Any], element: str, valence: int | None) -> dict[str, t.Any]:
    """Return settings of pw.x for an atom alone in a box: those for all structures, and what the atom needs besides.

    An open shell is spin polarised, with the moment of the ground state of the free atom (Hund's rules; ASE's table),
    unless the settings give ``nspin`` or ``noncolin``: then they stay in this. The smearing is narrow: pw.x adds to the
    energy what it calls ``-TS``, which is meant for metals. Equal occupations of degenerate levels make the atom
    spherical, as in the reference data of NIST (Kotochigova et al., Phys. Rev. A 55, 191 (1997)).

    :param parameters: namelists of pw.x, by name; they are not changed.
    :param element: the chemical symbol, which is the name of the kind too.
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
    # Where the core holds electrons of the open shell, the moment is not that of the free atom: leave it to pw.x.
    is_possible = valence is not None and moment <= valence and (valence - moment) % 2 == 0
    if moment and 'nspin' not in system and not system.get('noncolin'):
        system['nspin'] = 2
        system['starting_magnetization'] = {element: moment / valence if is_possible and valence else 0.5}
        if is_possible:
            system['tot_magnetization'] = moment
    return {**parameters, 'SYSTEM': system, 'ELECTRONS': electrons}
