"""Settings of ``pw.x``: those that determine a label, and robust ones for an SCF that did not converge."""

from __future__ import annotations

import hashlib
import json
import typing as t
from collections.abc import Mapping

__all__ = ('ROBUST_ELECTRONS', 'label_digest', 'physical_parameters', 'robust_parameters')

#: Raise when the inputs beyond these settings (`isolated_atom_parameters`, k-points of frames that are not periodic)
#: change, or when other keys count as settings: older labels are then not reused.
RULES_VERSION = 1

#: Keys for convergence, files and output, which do not change the converged label. Every other key counts, unknown ones
#: too: a needless DFT run is cheaper than a label of other settings.
IGNORED = {
    'CONTROL': frozenset(
        (
            *('disk_io', 'dt', 'etot_conv_thr', 'forc_conv_thr', 'iprint', 'lkpoint_dir', 'max_seconds', 'nstep'),
            *('outdir', 'prefix', 'pseudo_dir', 'restart_mode', 'title', 'tprnfor', 'tstress', 'verbosity'),
            *('wf_collect', 'wfcdir'),
        )
    ),
    'ELECTRONS': frozenset(
        (
            *('conv_thr_init', 'conv_thr_multi', 'diago_cg_maxiter', 'diago_david_ndim', 'diago_full_acc'),
            *('diago_gs_nblock', 'diago_ppcg_maxiter', 'diago_rmm_conv', 'diago_rmm_ndim', 'diago_thr_init'),
            *('diagonalization', 'electron_maxstep', 'mixing_beta', 'mixing_fixed_ns', 'mixing_mode', 'mixing_ndim'),
            *('startingpot', 'startingwfc'),
        )
    ),
}

#: Namelists that a single-point run does not read.
UNREAD = frozenset({'IONS', 'CELL'})

#: Defaults of pw.x (INPUT_PW of Quantum ESPRESSO 7), without ``nspin`` and ``degauss``, which have other defaults for
#: an isolated atom.
DEFAULTS: dict[str, dict[str, t.Any]] = {
    'CONTROL': {'calculation': 'scf'},
    'SYSTEM': {'noncolin': False, 'smearing': 'gaussian', 'tot_charge': 0.0},
    'ELECTRONS': {'conv_thr': 1e-6},
}

#: Synonyms of smearings.
SMEARINGS = {
    **dict.fromkeys(('gauss', 'gaussian'), 'gaussian'),
    **dict.fromkeys(('mp', 'm-p', 'methfessel-paxton'), 'methfessel-paxton'),
    **dict.fromkeys(('mv', 'm-v', 'cold', 'marzari-vanderbilt'), 'marzari-vanderbilt'),
    **dict.fromkeys(('fd', 'f-d', 'fermi-dirac'), 'fermi-dirac'),
}

#: Settings of the second try, for an SCF that did not converge: small mixing steps, the screening of an inhomogeneous
#: system (D. Raczkowski et al., Phys. Rev. B 64, 121101 (2001)), which works for bulk too, and the most stable
#: diagonalisation. The ground state stays the same. The smearing is not changed: a wider one changes the energy, and
#: such labels are not consistent with the others.
ROBUST_ELECTRONS: dict[str, t.Any] = {
    'mixing_beta': 0.2,
    'mixing_mode': 'local-TF',
    'mixing_ndim': 12,
    'diagonalization': 'cg',
    'electron_maxstep': 300,
}


def robust_parameters(parameters: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return ``parameters`` of ``pw.x`` with `ROBUST_ELECTRONS`, or with more cautious values of ``parameters``."""
    electrons = dict(parameters.get('ELECTRONS', {}))
    robust = ROBUST_ELECTRONS | {
        'mixing_beta': min(ROBUST_ELECTRONS['mixing_beta'], electrons.get('mixing_beta', 1.0)),
        'electron_maxstep': max(ROBUST_ELECTRONS['electron_maxstep'], electrons.get('electron_maxstep', 0)),
    }
    return {**parameters, 'ELECTRONS': electrons | robust}


def physical_parameters(parameters: Mapping[str, t.Any]) -> dict[str, dict[str, t.Any]]:
    """Return the parameters of ``pw.x`` that determine a label, in the same form for equivalent settings.

    :param parameters: namelists, each a mapping; a value may be a mapping by kind or a list.
    """
    given = {
        name.upper(): {key.lower(): _normal(value) for key, value in namelist.items()}
        for name, namelist in parameters.items()
        if name.upper() not in UNREAD
    }
    physical = {
        name: {
            key: value
            for key, value in ({**_normal(DEFAULTS.get(name, {})), **given.get(name, {})}).items()
            if key not in IGNORED.get(name, ())
        }
        for name in sorted({*given, *DEFAULTS})
    }
    system = physical['SYSTEM']
    if 'ecutwfc' in system:
        system.setdefault('ecutrho', 4 * system['ecutwfc'])
    system['smearing'] = SMEARINGS.get(system['smearing'], system['smearing'])
    return physical


def label_digest(
    parameters: Mapping[str, t.Any],
    kpoints_distance: float,
    force_parity: bool = False,
    other: Mapping[str, t.Any] | None = None,
) -> str:
    """Return a digest of the settings of a label without pseudopotentials, the same for equivalent settings.

    :param parameters: namelists of ``pw.x``; keys in `IGNORED` do not count.
    :param kpoints_distance: largest distance of k-points, in 1/Å.
    :param force_parity: whether the meshes have even numbers only.
    :param other: other data that determine the label, such as settings of the plugin.
    """
    content = {
        'rules': RULES_VERSION,
        'parameters': physical_parameters(parameters),
        'kpoints': [float(kpoints_distance), bool(force_parity)],
        'other': _normal(other or {}),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _normal(value: t.Any) -> t.Any:
    """Return a value in the form for comparison: every number a float, every text in lower case."""
    if isinstance(value, Mapping):
        return {str(key): _normal(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_normal(item) for item in value]
    if isinstance(value, str):
        return value.strip().lower()
    if isinstance(value, bool) or value is None:
        return value
    return float(value)
