"""A lane of molecular-dynamics walkers."""

from __future__ import annotations

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ProcessSpec
from aiida.plugins import CalculationFactory

from aiida_pace.workflows.lane import LaneWorkChain

PaceLammpsCalculation = CalculationFactory('pace.lammps')

__all__ = ('ExploreLaneWorkChain',)


class ExploreLaneWorkChain(LaneWorkChain):
    """Run molecular-dynamics walkers, one after another."""

    _process_class = PaceLammpsCalculation

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:  # type: ignore[override]
        """Define the process specification."""
        super().define(spec)
        spec.expose_inputs(PaceLammpsCalculation, namespace='lammps', exclude=('structure', 'seed'))
        spec.input_namespace(
            'seeds', valid_type=orm.Int, dynamic=True, help='Random seed of each walker, by the key of its structure.'
        )

    def job_inputs(self, key: str) -> AttributeDict:
        """Return the inputs of the walker ``key``."""
        inputs = AttributeDict(self.exposed_inputs(PaceLammpsCalculation, 'lammps'))
        inputs.structure = self.inputs.structures[key]
        inputs.seed = self.inputs.seeds[key]
        return inputs
