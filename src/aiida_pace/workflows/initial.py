"""The initial set: the few frames, out of many cheap ones, that the first labels are worth most for."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from aiida import orm
from aiida.engine import ExitCode, ToContext, if_
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_pace.calculations.base import validate_closest
from aiida_pace.calculations.basis import PaceBasisCalculation
from aiida_pace.calculations.functions.initial import choose_initial, make_initial_pool
from aiida_pace.calculations.select import PaceSelectCalculation
from aiida_pace.config import CLOSEST, InitialSetConfig, TrainingConfig
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.structures.initial import (
    applicable_shares,
    atoms_per_element,
    bond_sources,
    recipe_counts,
    validate_keys,
    validate_user_structure,
)
from aiida_pace.structures.lattices import bond_of
from aiida_pace.structures.recipes import ALWAYS
from aiida_pace.workflows.graph import cause_of
from aiida_pace.workflows.resumable import ResumableWorkChain, labelled
from aiida_pace.workflows.validators import validate_config, validate_positive, validate_seed

__all__ = ('InitialSetWorkChain',)


class InitialSetWorkChain(ResumableWorkChain):
    """Make a pool of small strained, rattled cells, and keep what one MaxVol pass over it picks.

    Isolated atoms, dimers and trimers belong in the set anyway. MaxVol needs the functions of the basis that will be
    trained, but no coefficients: nothing is labelled yet. What it leaves room for is filled up at random.
    """

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        """Define the process specification."""
        super().define(spec)
        spec.input(
            'elements', valid_type=orm.List, validator=cls.validate_elements, help='Chemical symbols of the set.'
        )
        spec.input(
            'count',
            valid_type=orm.Int,
            default=lambda: orm.Int(60),
            validator=validate_positive,
            help='Number of frames of the set, isolated atoms included.',
        )
        spec.input(
            'parameters',
            valid_type=orm.Dict,
            default=orm.Dict,
            validator=validate_config(InitialSetConfig),
            help='Settings of `InitialSetConfig`: recipes and their shares, the pool, how to select from it.',
        )
        spec.input_namespace(
            'structures',
            valid_type=orm.StructureData,
            dynamic=True,
            required=False,
            help='Structures of the user, for the recipe `user`: unchanged, and strained and displaced.',
        )
        spec.input(
            'seed',
            valid_type=orm.Int,
            default=lambda: orm.Int(1),
            validator=validate_seed,
            help='Random seed of the structures and of the random selection.',
        )
        spec.input(
            'closest',
            valid_type=orm.Float,
            default=lambda: orm.Float(CLOSEST),
            validator=validate_closest,
            help='Smallest distance in the set, as a share of the sum of the two covalent radii.',
        )
        spec.expose_inputs(
            PaceBasisCalculation,
            namespace='basis',
            exclude=('elements',),
            namespace_options={
                'help': 'The functions of the basis: code and `parameters` of the fit, to whose `cutoff` dimers and '
                'trimers reach.'
            },
        )
        spec.expose_inputs(
            PaceSelectCalculation,
            namespace='maxvol',
            exclude=('dataset', 'potential', 'active_set', 'max_frames', 'candidates'),
            namespace_options={'help': 'MaxVol: inputs of `PaceSelectCalculation`.'},
        )
        for namespace in ('basis', 'maxvol'):
            t.cast(t.Any, spec.inputs)[namespace]['code'].required = False
        spec.inputs.validator = cls.validate_inputs
        steps: t.Any = cls  # for `outline`, steps are functions of any work chain
        spec.outline(
            steps.make_pool,
            steps.inspect_pool,
            if_(steps.should_select)(steps.make_basis, steps.inspect_basis, steps.select, steps.inspect_selection),
            steps.choose,
            steps.inspect_choice,
        )
        spec.output(
            'dataset',
            valid_type=AtomsDatasetData,
            required=False,
            help='The frames to label; the origin of a frame is the name of its recipe.',
        )
        spec.output(
            'output_parameters',
            valid_type=orm.Dict,
            required=False,
            help='Frames by recipe: made for the `pool`, left out as `duplicates`, `kept`; how many `selected` by '
            'MaxVol; `atoms` with neighbours by element.',
        )
        spec.exit_code(
            310,
            'ERROR_ATOMS_INSUFFICIENT',
            message='the pool holds {atoms} atoms of {element} with neighbours, the basis has {functions} functions '
            'for it: MaxVol needs more atoms than functions. Raise `pool_count` or lower '
            '`basis.parameters.functions_per_element`.',
        )
        spec.exit_code(
            311,
            'ERROR_POOL_INSUFFICIENT',
            message='the pool holds {available} frames that are not alike, `count` asks for {count}: raise '
            '`displacement`, `strain` or `volumes` of the `parameters`, or lower `count`.',
        )
        spec.exit_code(410, 'ERROR_BASIS_FAILED', message='the basis could not be made: {cause}')
        spec.exit_code(411, 'ERROR_SELECTION_FAILED', message='`pace-select` could not choose from the pool: {cause}')

    @classmethod
    def validate_elements(cls, node: orm.List | None, port: t.Any) -> str | None:
        """Refuse what is no chemical symbol, and elements without a known size."""
        if error := PaceBasisCalculation.validate_elements(node, port):
            return error
        try:
            for element in node or ():
                bond_of(element)
        except ValueError as exception:
            return f'`{port.name}`: {exception}; leave it out.'
        return None

    @classmethod
    def validate_inputs(cls, value: Mapping[str, t.Any], _: t.Any) -> str | None:
        """Refuse inputs that do not fit each other, before anything runs."""
        config = InitialSetConfig.model_validate(value['parameters'].get_dict())
        elements = sorted(set(value['elements']))
        return (
            cls._validate_counts(value['count'].value, elements, config)
            or cls._validate_structures(value, elements, config)
            or cls._validate_basis(value, elements, config)
        )

    @staticmethod
    def _validate_counts(count: int, elements: list[str], config: InitialSetConfig) -> str | None:
        if config.isolated_atoms and count <= len(elements):
            return f'`count` is {count}: give more frames than there are elements, for the isolated atoms.'
        if count > config.pool_count:
            return f'`count` is {count}, the pool has {config.pool_count}: raise `pool_count` of the `parameters`.'
        if error := validate_keys(elements, config):
            return f'`parameters`: {error}.'
        return None

    @staticmethod
    def _validate_structures(value: Mapping[str, t.Any], elements: list[str], config: InitialSetConfig) -> str | None:
        structures = value.get('structures', {})
        if not applicable_shares(elements, config, has_structures=bool(structures)):
            return '`parameters`: no recipe with a share above 0 applies to these elements; raise one in `shares`.'
        if structures and not config.shares.get('user'):
            return '`structures` are given, but `shares` of the `parameters` has none for the recipe `user`: add it.'
        for name, structure in sorted(structures.items()):
            if error := validate_user_structure(structure.get_ase(), elements, value['closest'].value):
                return f'`structures.{name}` {error}.'
        return None

    @staticmethod
    def _validate_basis(value: Mapping[str, t.Any], elements: list[str], config: InitialSetConfig) -> str | None:
        training = TrainingConfig.model_validate(value['basis']['parameters'].get_dict())
        try:
            for element in elements:
                training.functions_of(element)
        except ValueError as exception:
            return f'`basis.parameters`: {exception}.'
        missing = [name for name in ('basis', 'maxvol') if 'code' not in value[name]]
        if config.selection == 'd_optimal' and missing:
            return f'`{missing[0]}.code` is missing: give it, or `selection: random` in the `parameters`.'
        return None

    @property
    def config(self) -> InitialSetConfig:
        """How the set is made."""
        return InitialSetConfig.model_validate(self.inputs.parameters.get_dict())

    def make_pool(self) -> None:
        """Make the frames to choose from."""
        for element, sentence in bond_sources(self.inputs.elements, self.config).items():
            if bond_of(element, self.config.lattice_constants).estimated:
                self.report(f'{sentence}; `lattice_constants` of the `parameters` takes a better value')
        results = make_initial_pool(
            self.inputs.elements,
            self.inputs.count,
            self.inputs.parameters,
            self.inputs.seed,
            closest=self.inputs.closest,
            fit=self.inputs.basis.parameters,
            **{f'structures__{name}': node for name, node in self.inputs.get('structures', {}).items()},
            metadata={'call_link_label': 'make_pool'},  # type: ignore[arg-type]
        )
        self.ctx.pool, self.ctx.account, self.ctx.selection = results['pool'], results['account'], None

    def inspect_pool(self) -> ExitCode | None:
        """Stop when no choice from the pool could be enough."""
        count = self.inputs.count.value
        if self.ctx.pool.count < count:
            return self.exit_codes.ERROR_POOL_INSUFFICIENT.format(available=self.ctx.pool.count, count=count)  # type: ignore[no-any-return]
        return self._insufficient() if self.config.selection == 'd_optimal' else None

    def _insufficient(self) -> ExitCode | None:
        """Return the exit code for a pool that holds too few atoms of an element for MaxVol."""
        config = TrainingConfig.model_validate(self.inputs.basis.parameters.get_dict())
        counts = atoms_per_element(self.ctx.pool.frames)
        for element in self.inputs.elements:
            atoms, functions = counts.get(element, 0), config.functions_of(element)
            if atoms <= functions:
                return self.exit_codes.ERROR_ATOMS_INSUFFICIENT.format(  # type: ignore[no-any-return]
                    atoms=atoms, element=element, functions=functions
                )
        return None

    def should_select(self) -> bool:
        """Return whether there is something to choose, by D-optimality."""
        kept = recipe_counts(self.ctx.pool.frames)
        room = self.inputs.count.value - sum(kept.get(recipe, 0) for recipe in ALWAYS)
        return self.config.selection == 'd_optimal' and room > 0 and self.ctx.pool.count > self.inputs.count.value

    def make_basis(self) -> ToContext[str, t.Any]:
        """Make the functions that the fit will have."""
        inputs = {**self.exposed_inputs(PaceBasisCalculation, 'basis'), 'elements': self.inputs.elements}
        return ToContext(basis=self.submit(PaceBasisCalculation, labelled('basis', inputs)))

    def inspect_basis(self) -> ExitCode | None:
        """Stop when there is no basis."""
        if not self.ctx.basis.is_finished_ok:
            return self.exit_codes.ERROR_BASIS_FAILED.format(cause=cause_of(self.ctx.basis))  # type: ignore[no-any-return]
        return None

    def select(self) -> ToContext[str, t.Any]:
        """Rank the frames of the pool; dimers and trimers compete, since they are in the set as well."""
        inputs = {
            **self.exposed_inputs(PaceSelectCalculation, 'maxvol'),
            'dataset': self.ctx.pool,
            'potential': self.ctx.basis.outputs.basis,
            'max_frames': orm.Int(self.ctx.pool.count),
        }
        return ToContext(selection_process=self.submit(PaceSelectCalculation, labelled('select', inputs)))

    def inspect_selection(self) -> ExitCode | None:
        """Take the ranking."""
        process = self.ctx.selection_process
        if not process.is_finished_ok:
            return self.exit_codes.ERROR_SELECTION_FAILED.format(cause=cause_of(process))  # type: ignore[no-any-return]
        self.ctx.selection = process.outputs.output_parameters
        return None

    def choose(self) -> None:
        """Put the set together."""
        ranking = {} if self.ctx.selection is None else {'selection': self.ctx.selection}
        results = choose_initial(  # type: ignore[call-arg]
            self.ctx.pool,
            self.ctx.account,
            self.inputs.count,
            self.inputs.seed,
            **ranking,
            metadata={'call_link_label': 'choose'},
        )
        for name in ('dataset', 'output_parameters'):
            self.out(name, results[name])

    def inspect_choice(self) -> None:
        """Say what was kept; a set with few atoms of an element gets a small basis, until there are more."""
        account = self.outputs['output_parameters']
        self.report(
            f'{self.inputs.count.value} of {self.ctx.pool.count} frames kept, {account["selected"]} by MaxVol; '
            f'{sum(account["duplicates"].values())} were duplicates'
        )
