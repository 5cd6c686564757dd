"""The initial set: the structures that the first labels are made of."""

from __future__ import annotations

import typing as t

from pydantic import Field, model_validator

from aiida_pace.config.base import Config, Share

__all__ = ('InitialSetConfig',)

#: Relative to that of the known lattice constant.
Volume = t.Annotated[float, Field(gt=0, le=10)]


class InitialSetConfig(Config):
    """The structures that the first labels are made of."""

    RENAMED: t.ClassVar = {
        'closest': 'the input `closest`, one for all steps of a campaign',
        'cutoff': '`cutoff` of the fit: dimers and trimers reach out to it',
    }

    shares: dict[str, Share] = Field(
        default={
            'dimer': 6,
            'trimer': 4,
            'bulk': 40,
            'compound': 20,
            'alloy': 20,
            'supercell': 5,
            'vacancy': 5,
            'interstitial': 5,
            'surface': 5,
            'packing': 10,
            'user': 10,
        },
        description='Share of each recipe in the set, in any unit; compound and alloy need two elements.',
    )
    isolated_atoms: bool = Field(
        default=True, description='Begin the set with one isolated atom per element; they count as part of the set.'
    )
    lattice_constants: dict[str, t.Annotated[float, Field(gt=0, le=100)]] = Field(
        default={},
        description='Lattice constants in Å, by `element-prototype` (Al-fcc) or `element-element-prototype` '
        '(Na-Cl-rocksalt); other values come from the table of ASE or are estimated from covalent radii.',
    )
    composition: dict[str, Share] = Field(
        default={}, description='Relative amount of each element in random alloys on average; equal when empty.'
    )
    selection: t.Literal['d_optimal', 'random'] = Field(
        default='d_optimal',
        description='How the set is selected from the pool: the frames whose atoms span the largest volume in the '
        'space of the basis functions (MaxVol, needs the engine), or at random, by the shares.',
    )
    pool_count: int = Field(
        default=300,
        ge=1,
        le=1000,
        description='Number of structures made to pick from, without isolated atoms, dimers and trimers: of these just '
        'as many are made as belong in the set.',
    )
    vacuum: float = Field(
        default=10.0, gt=0, le=100, description='Empty space around atoms, dimers and trimers and above surfaces, in Å.'
    )
    max_small_atoms: int = Field(default=16, ge=1, le=1000, description='Largest number of atoms of a small cell.')
    max_atoms: int = Field(
        default=16,
        ge=8,
        le=1000,
        description='Largest number of atoms of supercells, defects, surfaces, and packings. MaxVol prefers large '
        'cells, which have more atoms to offer, but the cost of DFT grows faster than their number.',
    )
    volumes: tuple[Volume, Volume] = Field(
        default=(0.75, 1.35),
        strict=False,
        description='Smallest and largest volume, relative to that of the known lattice constant.',
    )
    strain: float = Field(default=0.1, ge=0, lt=0.5, description='Largest component of the random strain.')
    displacement: float = Field(
        default=0.6, ge=0, le=2, description='Largest length of the random displacement of an atom, in Å.'
    )
    distinct: float = Field(
        default=0.02, gt=0, le=1, description='Structures whose distances agree to this length are drawn again, in Å.'
    )

    @model_validator(mode='after')
    def _check(self) -> InitialSetConfig:
        """Refuse unknown recipes and an empty range of volumes."""
        unknown = set(self.shares) - set(InitialSetConfig.model_fields['shares'].default)
        if unknown:
            known = ', '.join(InitialSetConfig.model_fields['shares'].default)
            raise ValueError(f'`shares` names the unknown recipe `{min(unknown)}`; the recipes are: {known}')
        if self.volumes[0] > self.volumes[1]:
            raise ValueError('`volumes` must be given as (smallest, largest)')
        return self
