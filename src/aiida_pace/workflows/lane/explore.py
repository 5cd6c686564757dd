"""A lane of molecular-dynamics walkers."""

from __future__ import annotations

import typing as t

from aiida import orm
from aiida.engine import Process
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_pace.calculations.lammps import PaceLammpsCalculation
from aiida_pace.workflows.lane import LaneWorkChain

__all__ = ('ExploreLaneWorkChain',)


class ExploreLaneWorkChain(LaneWorkChain):
    """Run molecular-dynamics walkers, one after another."""

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        """Define the process specification."""
        super().define(spec)
        spec.expose_inputs(PaceLammpsCalculation, namespace='lammps', exclude=('structure', 'seed'))
        spec.input_namespace(
            'seeds', valid_type=orm.Int, dynamic=True, help='Random seed of each walker, by the key of its structure.'
        )

    def job(self, key: str) -> tuple[type[Process], dict[str, t.Any]]:
        """Return the inputs of the walker ``key``."""
        shared = self.exposed_inputs(PaceLammpsCalculation, 'lammps')
        return PaceLammpsCalculation, {
            **shared,
            'structure': self.inputs.structures[key],
            'seed': self.inputs.seeds[key],
        }
