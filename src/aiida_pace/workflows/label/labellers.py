"""The labellers that a labelling can choose from: one line for each."""

from __future__ import annotations

from collections.abc import Mapping

from aiida_pace.workflows.label.calculator import CalculatorLabeller
from aiida_pace.workflows.label.labeller import Labeller
from aiida_pace.workflows.label.quantumespresso import PwLabeller

__all__ = ('LABELLERS',)

#: By the namespace of their inputs; the first is that of the protocols.
LABELLERS: Mapping[str, type[Labeller]] = {labeller.name: labeller for labeller in (PwLabeller, CalculatorLabeller)}
