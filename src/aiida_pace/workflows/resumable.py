"""Work chains whose steps submit nothing twice when a crash makes AiiDA run them anew."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from aiida import orm
from aiida.engine import Process, ProcessState, WorkChain

from aiida_pace.workflows.graph import children

__all__ = ('ResumableWorkChain', 'labelled')


class ResumableWorkChain(WorkChain):
    """A work chain whose ``submit`` is keyed on the label of the link to the child."""

    def submit(
        self, process: type[Process], inputs: dict[str, t.Any] | None = None, **kwargs: t.Any
    ) -> orm.ProcessNode:
        """Submit ``process``, or return the child that already has the ``call_link_label`` of the inputs.

        AiiDA runs a step that was interrupted between two checkpoints again from its start, and would submit its
        children again. A child that was stored without its task being sent would wait for ever: it is sent again, and
        the worker that has the child already ignores that. Inputs without a label are submitted as they are.
        """
        given = {**(inputs or {}), **kwargs}
        child = children(self.node).get(given.get('metadata', {}).get('call_link_label', ''))
        if child is None:
            return super().submit(process, **given)
        if child.process_state is ProcessState.CREATED and self.runner.controller is not None:
            self.runner.controller.continue_process(child.pk, nowait=False, no_reply=True)
        return child


def labelled(label: str, inputs: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the ``inputs`` of a process with ``label`` for the link from its caller."""
    return {**inputs, 'metadata': {**inputs.get('metadata', {}), 'call_link_label': label}}
