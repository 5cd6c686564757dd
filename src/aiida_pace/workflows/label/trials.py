"""Trials of the codes that label, for the pre-flight check."""

from __future__ import annotations

import typing as t
from collections.abc import Sequence

from aiida import orm
from aiida.plugins import CalculationFactory
from aiida_quantumespresso.workflows.protocols.utils import recursive_merge

from aiida_pace.workflows.check.trial import Check, Inputs, LabelTrial, TrialError, finished, text_of

PwCalculation: t.Any = CalculationFactory('quantumespresso.pw')

__all__ = ('LABEL_TRIALS', 'PwTrial')

#: One iteration: with this threshold, in Ry, it has converged, so that the output is one of a good run.
ONE_ITERATION = {'CONTROL': {'calculation': 'scf'}, 'ELECTRONS': {'electron_maxstep': 1, 'conv_thr': 1e3}}


class PwTrial(LabelTrial):
    """One iteration of ``pw.x`` on a small cell of all elements that have pseudopotentials."""

    name = 'pw'
    engine = '`pw.x` of Quantum ESPRESSO'
    port = 'label.pw.code'
    process = PwCalculation
    own = ('structure', 'kpoints', 'parent_folder', 'parallelization')

    def cover(self, given: Inputs, elements: Sequence[str]) -> tuple[list[str], Check]:
        """Return which elements have pseudopotentials."""
        covered = sorted(set(elements) & set(given.get('pseudos', {})))
        if missing := sorted(set(elements) - set(covered)):
            remedy = f'Take a family that has them, or add them to `{self.namespace}.pseudos`, keyed by the element.'
            return covered, Check('pseudopotentials', 'failed', f'there are none for {", ".join(missing)}', '', remedy)
        return covered, Check('pseudopotentials', 'ok', f'there are some for {", ".join(covered)}')

    def inputs(self, given: Inputs, made: Inputs) -> dict[str, t.Any]:
        """Return one iteration at the Γ point."""
        kpoints = orm.KpointsData()
        kpoints.set_kpoints_mesh([1, 1, 1])
        return {
            'structure': made['cell'],
            'kpoints': kpoints,
            'parameters': orm.Dict(recursive_merge(given['parameters'].get_dict(), ONE_ITERATION)),
            'pseudos': {kind.name: given['pseudos'][kind.symbol] for kind in made['cell'].kinds},
        }

    def inspect(self, node: orm.CalcJobNode) -> str:
        """See whether it is ``pw.x``, and read the pseudopotentials."""
        if 'Program PWSCF' not in self._stdout(node):
            raise TrialError('the code wrote no line `Program PWSCF`: it did not start, or it is no pw.x')
        finished(node)
        elements = ', '.join(sorted(node.inputs.structure.get_symbols_set()))
        return f'read the pseudopotentials of {elements}, made one iteration'

    def versions(self, node: orm.CalcJobNode) -> list[tuple[str, str]]:
        """Return the output of ``pw.x``, which begins with its version."""
        return [('pw.x', self._stdout(node))]

    def _stdout(self, node: orm.CalcJobNode) -> str:
        return text_of(node, str(node.get_option('output_filename')))


#: One of each labeller.
LABEL_TRIALS: tuple[LabelTrial, ...] = (PwTrial(),)
