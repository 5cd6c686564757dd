"""The labellers that a labelling can choose from: one line for each."""

from __future__ import annotations

from collections.abc import Mapping

from aiida_pace.workflows.label.calculator import CalculatorLabeller
from aiida_pace.workflows.label.labeller import Labeller
from aiida_pace.workflows.label.quantumespresso import PwLabeller

__all__ = ('DEFAULT_LABELLER', 'LABELLERS')

DEFAULT_LABELLER = PwLabeller

#: By the namespace of their inputs.
LABELLERS: Mapping[str, type[Labeller]] = {labeller.name: labeller for labeller in (PwLabeller, CalculatorLabeller)}
