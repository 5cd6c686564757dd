"""A lane of DFT labels."""

from __future__ import annotations

from aiida.common import AttributeDict
from aiida.engine import ProcessSpec
from aiida.plugins import WorkflowFactory

from aiida_pace.workflows.lane import LaneWorkChain

PwBaseWorkChain = WorkflowFactory('quantumespresso.pw.base')

__all__ = ('LabelLaneWorkChain',)


class LabelLaneWorkChain(LaneWorkChain):
    """Label structures with Quantum ESPRESSO, one after another."""

    _process_class = PwBaseWorkChain

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:  # type: ignore[override]
        """Define the process specification."""
        super().define(spec)
        spec.expose_inputs(PwBaseWorkChain, exclude=('kpoints', 'pw.structure', 'pw.parent_folder'))

    def job_inputs(self, key: str) -> AttributeDict:
        """Return the inputs of ``PwBaseWorkChain``, with the pseudopotentials of just this structure."""
        inputs = AttributeDict(self.exposed_inputs(PwBaseWorkChain))
        structure = self.inputs.structures[key]
        inputs.pw = AttributeDict(inputs.pw)
        inputs.pw.structure = structure
        inputs.pw.pseudos = {kind.name: self.inputs.pw.pseudos[kind.symbol] for kind in structure.kinds}
        return inputs
