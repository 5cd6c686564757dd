"""A lane of jobs that label frames."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from aiida import orm
from aiida.engine import Process
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.workflows.label.labeller import Labeller, choose_labeller
from aiida_pace.workflows.label.labellers import LABELLERS
from aiida_pace.workflows.lane import LaneWorkChain

__all__ = ('LabelLaneWorkChain',)


class LabelLaneWorkChain(LaneWorkChain):
    """Label structures, or batches of frames, one after another."""

    labellers: t.ClassVar[Mapping[str, type[Labeller]]] = LABELLERS

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        """Define the process specification."""
        super().define(spec)
        t.cast(t.Any, spec.inputs['structures']).valid_type = (orm.StructureData, AtomsDatasetData)
        for labeller in cls.labellers.values():
            labeller.define(spec)

    def job(self, key: str) -> tuple[type[Process], dict[str, t.Any]]:
        """Return the process and the inputs of the labeller."""
        labeller = choose_labeller(self.inputs, self.labellers)
        return labeller.process_class, labeller.job_inputs(self.inputs.structures[key])
