"""Everything a user can set, as strict pydantic models; units are in the descriptions."""

from __future__ import annotations

import typing as t

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError, model_validator

__all__ = ('Config', 'InitialSetConfig', 'MdConfig', 'SwarmConfig', 'TrainingConfig', 'config_error')


class Config(BaseModel):
    """Base of all settings: unknown keys are refused, values never change after validation."""

    model_config = ConfigDict(extra='forbid', frozen=True)


def config_error(model: type[Config], settings: dict[str, t.Any]) -> str | None:
    """Return one sentence that names the first wrong setting and the remedy, or None when all are right."""
    try:
        model.model_validate(settings)
    except ValidationError as exception:
        error = exception.errors()[0]
        where = '.'.join(str(part) for part in error['loc'])
        if error['type'] == 'extra_forbidden':
            known = ', '.join(model.model_fields)
            return f'unknown setting `{where}`; {model.__name__} knows: {known}'
        message = error['msg'].removeprefix('Value error, ')
        return f'setting `{where}`: {message}' if where else message
    return None


class InitialSetConfig(Config):
    """The structures that the first labels are made of."""

    shares: dict[str, float] = Field(
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
    lattice_constants: dict[str, float] = Field(
        default={},
        description='Lattice constants in Å, by `element-prototype` (Al-fcc) or `element-element-prototype` '
        '(Na-Cl-rocksalt); what is not given comes from the table of ASE or is estimated from covalent radii.',
    )
    composition: dict[str, float] = Field(
        default={}, description='Relative amount of each element in random alloys on average; equal when empty.'
    )
    cutoff: float = Field(default=5.0, gt=0, description='Dimers and trimers reach out to this distance, in Å.')
    vacuum: float = Field(
        default=10.0, gt=0, description='Empty space around atoms, dimers and trimers and above surfaces, in Å.'
    )
    max_small_atoms: int = Field(default=16, ge=1, description='Largest number of atoms of a small cell.')
    max_atoms: int = Field(
        default=32, ge=8, description='Largest number of atoms of supercells, defects, surfaces, and packings.'
    )
    volumes: tuple[PositiveFloat, PositiveFloat] = Field(
        default=(0.75, 1.35), description='Smallest and largest volume, relative to that of the known lattice constant.'
    )
    strain: float = Field(default=0.1, ge=0, lt=0.5, description='Largest component of the random strain.')
    displacement: float = Field(
        default=0.6, ge=0, le=2, description='Largest length of the random displacement of an atom, in Å.'
    )
    closest: float = Field(
        default=0.7, gt=0, le=1, description='No distance is below this times the sum of the two covalent radii.'
    )

    @model_validator(mode='after')
    def _check(self) -> InitialSetConfig:
        """Refuse unknown recipes, negative shares and lattice constants, and an empty range of volumes."""
        unknown = set(self.shares) - set(InitialSetConfig.model_fields['shares'].default)
        if unknown:
            known = ', '.join(InitialSetConfig.model_fields['shares'].default)
            raise ValueError(f'`shares` names the unknown recipe `{min(unknown)}`; the recipes are: {known}')
        for name in ('shares', 'lattice_constants', 'composition'):
            wrong = [key for key, value in getattr(self, name).items() if not 0 <= value < float('inf')]
            if wrong:
                raise ValueError(f'`{name}` holds a negative or infinite number for `{wrong[0]}`; give one from 0 up')
        if self.volumes[0] > self.volumes[1]:
            raise ValueError('`volumes` must be given as (smallest, largest)')
        return self


class TrainingConfig(Config):
    """One fit of an ACE potential."""


class MdConfig(Config):
    """One molecular-dynamics walker watched by the extrapolation grade."""


class SwarmConfig(Config):
    """Candidates around one halted structure."""

    count: int = Field(default=20, ge=0, description='Number of displaced copies of each halted frame.')
    amplitude: float = Field(default=0.18, gt=0, le=1, description='Standard deviation of the displacements, in Å.')
