"""One fit of an ACE potential."""

from __future__ import annotations

import typing as t

from pydantic import Field, model_validator

from aiida_pace.config.base import Config

__all__ = ('TrainingConfig',)

FunctionCount = t.Annotated[int, Field(ge=1, le=10_000)]


class TrainingConfig(Config):
    """One fit of an ACE potential.

    A fit that continues from a potential has its basis, whatever `cutoff`, `radial_parameter` and `embedding` are. When
    `functions_per_element` asks for more functions of an element than that has, the basis grows: the coefficients stay
    where the new fit starts, and functions up to `order` are added at zero. It never shrinks.
    """

    evaluator: t.Literal['tensorpot', 'linear'] = Field(
        default='tensorpot',
        description='Who fits: pacemaker with TensorFlow (`tensorpot`, the code runs `pacemaker`), or one weighted '
        'least-squares solution of a linear ACE in seconds (`linear`, the code runs `pace-fit-linear`).',
    )
    cutoff: float = Field(default=5.0, gt=0, le=20, description='Radius of the neighbourhood of an atom, in Å.')
    order: int = Field(
        default=4,
        ge=1,
        le=6,
        description='Largest number of neighbours in one basis function: 1 is a pair potential, 4 has body order 5. '
        'Beyond 5 only for functions of one or two elements.',
    )
    functions_per_element: FunctionCount | dict[str, FunctionCount] = Field(
        default=100,
        description='Number of basis functions of each element: one for all, or by element. Each of the 2^(n-1) blocks '
        'of an element among n (`Al` and `Al Si` for Al of Al-Si) has the same share, so that it may be a little less; '
        'it is less where an order has no more. With `tensorpot`, which fails when they differ, all elements have the '
        'smallest of the numbers.',
    )
    radial_parameter: float = Field(
        default=5.25, gt=0, le=100, description='Decay of the radial basis (simplified spherical Bessel functions).'
    )
    embedding: t.Literal['linear', 'finnis_sinclair'] | None = Field(
        default=None,
        description='Energy of an atom from its basis functions: their sum, or that plus the root of a second sum. '
        'Without one: finnis_sinclair for `tensorpot`, linear for `linear`.',
    )
    kappa: float = Field(
        default=0.3, ge=0, le=1, description='Share of the forces in the loss; the energies have the rest.'
    )
    l1: float | None = Field(
        default=None,
        ge=0,
        le=1e6,
        description='Weight of the absolute coefficients in the loss; only `tensorpot`, 1e-8 there.',
    )
    l2: float = Field(default=1e-8, ge=0, le=1e6, description='Weight of the squared coefficients in the loss.')
    weighting: t.Literal['uniform', 'energy'] = Field(
        default='uniform',
        description='Policy that multiplies the weights of the data sets: none, or less for frames of high energy and '
        'atoms with large forces.',
    )
    energy_scale: float = Field(
        default=1.0,
        gt=0,
        le=1e6,
        description='For `weighting: energy`: a frame this much above the lowest one, in eV/atom, has a quarter of its '
        'weight.',
    )
    force_scale: float = Field(
        default=1.0,
        gt=0,
        le=1e6,
        description='For `weighting: energy`: an atom with a force of this size, in eV/Å, has half of its weight.',
    )
    repulsion: bool = Field(
        default=True,
        description='Let a ZBL repulsion take over below the shortest distance in the data, for each pair of elements.',
    )
    reference_energies: dict[str, t.Annotated[float, Field(ge=-1e7, le=1e7)]] | t.Literal['isolated_atom'] = Field(
        default='isolated_atom',
        description='Energy of the isolated atom of each element, in eV, or `isolated_atom`: that of the labelled '
        'frames of one isolated atom in the data sets and, where those lack one, of the potential continued from.',
    )
    optimizer: t.Literal['BFGS', 'L-BFGS-B'] = Field(
        default='BFGS', description='Optimizer of scipy; BFGS needs the square of the number of coefficients in memory.'
    )
    max_epochs: int = Field(default=200, ge=1, le=1_000_000, description='Largest number of steps of the optimizer.')
    batch_size: int = Field(default=100, ge=1, le=100_000, description='Number of frames evaluated at once.')
    test_fraction: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description='Share of the frames that are not fitted; the error on these frames is reported.',
    )
    seed: int = Field(default=42, ge=0, lt=2**32, description='Seed of the choice of test frames and of pacemaker.')

    def functions_of(self, element: str) -> int:
        """Return the number of basis functions that are wanted of an element.

        :raises ValueError: when there is none.
        """
        if isinstance(self.functions_per_element, int):
            return self.functions_per_element
        if element not in self.functions_per_element:
            raise ValueError(f'`functions_per_element` has no number for {element}: add one')
        return self.functions_per_element[element]

    @model_validator(mode='after')
    def _check_linear(self) -> TrainingConfig:
        """Refuse what a linear fit cannot do."""
        if self.evaluator == 'linear' and self.embedding == 'finnis_sinclair':
            raise ValueError('`evaluator: linear` fits no `embedding: finnis_sinclair`, use `tensorpot`')
        if self.evaluator == 'linear' and self.l1:
            raise ValueError('`evaluator: linear` knows no `l1`, leave it out and use `l2`')
        return self
