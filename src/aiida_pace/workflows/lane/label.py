"""A lane of DFT labels."""

from __future__ import annotations

import typing as t

from aiida import orm
from aiida.engine.processes.workchains.workchain import WorkChainSpec
from aiida.plugins import WorkflowFactory

from aiida_pace.formats.quantumespresso.isolated_atom import isolated_atom_parameters
from aiida_pace.workflows.lane import LaneWorkChain

PwBaseWorkChain: t.Any = WorkflowFactory('quantumespresso.pw.base')

__all__ = ('LabelLaneWorkChain', 'is_isolated_atom')


class LabelLaneWorkChain(LaneWorkChain):
    """Label structures with Quantum ESPRESSO, one after another."""

    _process_class = PwBaseWorkChain

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        """Define the process specification."""
        super().define(spec)
        spec.expose_inputs(PwBaseWorkChain, exclude=('kpoints', 'pw.structure', 'pw.parent_folder'))

    def job_inputs(self, key: str) -> dict[str, t.Any]:
        """Return the inputs of ``PwBaseWorkChain``, with the pseudopotentials of just this structure.

        An isolated atom, the reference of all energies, runs with `isolated_atom_parameters`.
        """
        shared = self.exposed_inputs(PwBaseWorkChain)
        structure = self.inputs.structures[key]
        pseudos = {kind.name: shared['pw']['pseudos'][kind.symbol] for kind in structure.kinds}
        pw = {**shared['pw'], 'structure': structure, 'pseudos': pseudos}
        if is_isolated_atom(structure):
            (element,) = pseudos
            valence = getattr(pseudos[element], 'z_valence', None)
            parameters = isolated_atom_parameters(pw['parameters'].get_dict(), element, valence)
            pw['parameters'] = orm.Dict(parameters)
        return {**shared, 'pw': pw}


def is_isolated_atom(structure: orm.StructureData) -> bool:
    """Return whether this is a single atom without periods, the reference of the energies of its element."""
    return len(structure.sites) == 1 and not any(structure.pbc)
