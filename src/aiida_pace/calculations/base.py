"""What all calculation jobs share: their defaults, and the checks of inputs that belong together."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable

from aiida import orm
from aiida.engine import CalcJob, CalcJobProcessSpec

from aiida_pace.data.active_set import AceActiveSetData
from aiida_pace.data.potential import AcePotentialData

__all__ = ('PaceCalcJob', 'validate_active_set', 'validate_closest', 'validate_known_elements')


class PaceCalcJob(CalcJob):
    """A job of one process on one machine, whose inputs are checked together before it is made."""

    #: Entry point of the parser.
    PARSER: t.ClassVar[str]

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]
        """Set the defaults of the options and the validator."""
        super().define(spec)
        ports = t.cast(t.Any, spec.inputs)
        validate_calc_job = ports.validator
        ports.validator = lambda inputs, namespace: (
            validate_calc_job(inputs, namespace) or cls.validate_inputs(inputs, namespace)
        )
        ports['code'].required = True
        options = ports['metadata']['options']
        options['parser_name'].default = cls.PARSER
        options['resources'].default = lambda: {'num_machines': 1, 'num_mpiprocs_per_machine': 1}
        options['withmpi'].default = False

    @classmethod
    def validate_inputs(cls, inputs: dict[str, t.Any], namespace: t.Any) -> str | None:
        """Return one sentence on inputs that do not fit each other, None when all do.

        By default these are a `dataset` and an `active_set` that must fit the `potential`. An input may be missing,
        which its port reports, or not be exposed: then it is not in ``namespace`` either.
        """
        potential, dataset = inputs.get('potential'), inputs.get('dataset')
        return validate_known_elements(
            'dataset',
            dataset.elements if dataset is not None else (),
            potential,
            'give a potential that was trained on all elements of the frames',
        ) or validate_active_set(inputs.get('active_set'), potential)


def validate_closest(node: orm.Float | None, port: t.Any) -> str | None:
    """Refuse a shortest distance that is not a share of the sum of the covalent radii."""
    if node is not None and not 0 < node.value <= 1:
        return f'`{port.name}` is {node.value}: give a share above 0, at most 1, of the sum of two covalent radii.'
    return None


def validate_known_elements(
    name: str, elements: Iterable[str], potential: AcePotentialData | None, remedy: str
) -> str | None:
    """Return one sentence when the input ``name`` holds elements that the potential does not know."""
    if potential is None or not (unknown := sorted(set(elements) - set(potential.elements))):
        return None
    return f'`{name}` holds {", ".join(unknown)}, `potential` is for {", ".join(potential.elements)}: {remedy}.'


def validate_active_set(active_set: AceActiveSetData | None, potential: AcePotentialData | None) -> str | None:
    """Return one sentence when the active set is that of another potential."""
    if active_set is None or potential is None or active_set.matches(potential):
        return None
    return (
        '`active_set` was made for another potential: give the active set that `pace.active_set` made for `potential`.'
    )
