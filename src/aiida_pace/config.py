"""Everything a user can set, as strict pydantic models; units are in the descriptions."""

from __future__ import annotations

import typing as t

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

__all__ = (
    'AuditConfig',
    'Config',
    'EmbeddingConfig',
    'GrowthConfig',
    'GuardConfig',
    'InitialSetConfig',
    'MdConfig',
    'PropertyTolerances',
    'StageConfig',
    'StopConfig',
    'SwarmConfig',
    'TrainingConfig',
    'ValidationConfig',
    'config_error',
)


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
    selection: t.Literal['d_optimal', 'random'] = Field(
        default='d_optimal',
        description='How the set is picked from the pool: the frames whose atoms span the largest volume in the space '
        'of the basis functions (MaxVol, needs the engine), or at random, by the shares.',
    )
    pool_count: int = Field(
        default=300,
        ge=1,
        le=1000,
        description='Number of structures made to pick from, without isolated atoms, dimers and trimers: of these just '
        'as many are made as belong in the set.',
    )
    cutoff: float = Field(default=5.0, gt=0, description='Dimers and trimers reach out to this distance, in Å.')
    vacuum: float = Field(
        default=10.0, gt=0, description='Empty space around atoms, dimers and trimers and above surfaces, in Å.'
    )
    max_small_atoms: int = Field(default=16, ge=1, description='Largest number of atoms of a small cell.')
    max_atoms: int = Field(
        default=16,
        ge=8,
        description='Largest number of atoms of supercells, defects, surfaces, and packings. MaxVol prefers large '
        'cells, which have more atoms to offer, but the cost of DFT grows faster than their number.',
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
    distinct: float = Field(
        default=0.02, gt=0, description='Structures whose distances agree to this length are drawn again, in Å.'
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
    functions_per_element: PositiveInt | dict[str, PositiveInt] = Field(
        default=100,
        description='Number of basis functions of each element: one for all, or by element. Each of the 2^(n-1) blocks '
        'of an element among n (`Al` and `Al Si` for Al of Al-Si) has the same share, so that it may be a little less; '
        'it is less where an order has no more. With `tensorpot`, which fails when they differ, all elements have the '
        'smallest of the numbers.',
    )
    radial_parameter: float = Field(
        default=5.25, gt=0, description='Decay of the radial basis (simplified spherical Bessel functions).'
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
        default=None, ge=0, description='Weight of the absolute coefficients in the loss; only `tensorpot`, 1e-8 there.'
    )
    l2: float = Field(default=1e-8, ge=0, description='Weight of the squared coefficients in the loss.')
    weighting: t.Literal['uniform', 'energy'] = Field(
        default='uniform',
        description='Policy that multiplies the weights of the data sets: none, or less for frames of high energy and '
        'atoms with large forces.',
    )
    energy_scale: float = Field(
        default=1.0,
        gt=0,
        description='For `weighting: energy`: a frame this much above the lowest one, in eV/atom, has a quarter of its '
        'weight.',
    )
    force_scale: float = Field(
        default=1.0,
        gt=0,
        description='For `weighting: energy`: an atom with a force of this size, in eV/Å, has half of its weight.',
    )
    repulsion: bool = Field(
        default=True,
        description='Let a ZBL repulsion take over below the shortest distance in the data, for each pair of elements.',
    )
    reference_energies: dict[str, FiniteFloat] | t.Literal['isolated_atom'] = Field(
        default='isolated_atom',
        description='Energy of the isolated atom of each element, in eV, or `isolated_atom`: that of the labelled '
        'frames of one non-periodic atom in the data sets and, where those lack one, of the potential continued from.',
    )
    optimizer: t.Literal['BFGS', 'L-BFGS-B'] = Field(
        default='BFGS', description='Of scipy; BFGS needs the square of the number of coefficients in memory.'
    )
    max_epochs: int = Field(default=200, ge=1, description='Largest number of steps of the optimizer.')
    batch_size: int = Field(default=100, ge=1, description='Number of frames evaluated at once.')
    test_fraction: float = Field(
        default=0.0, ge=0, le=0.5, description='Share of the frames kept out of the fit, to watch the error on them.'
    )
    seed: int = Field(default=42, ge=0, lt=2**32, description='Seed of the choice of test frames and of pacemaker.')

    def functions_of(self, element: str) -> int:
        """Return the number of basis functions that are wanted of an element.

        :raises ValueError: when there is none.
        """
        if isinstance(self.functions_per_element, int):
            return self.functions_per_element
        if element not in self.functions_per_element:
            raise ValueError(f'`functions_per_element` has no number for {element}: add it')
        return self.functions_per_element[element]

    @model_validator(mode='after')
    def _check_linear(self) -> TrainingConfig:
        """Refuse what a linear fit cannot do."""
        if self.evaluator == 'linear' and self.embedding == 'finnis_sinclair':
            raise ValueError('`evaluator: linear` fits no `embedding: finnis_sinclair`, use `tensorpot`')
        if self.evaluator == 'linear' and self.l1:
            raise ValueError('`evaluator: linear` knows no `l1`, leave it out and use `l2`')
        return self


class MdConfig(Config):
    """One molecular-dynamics walker watched by the extrapolation grade.

    The default thresholds are for small cells (some 8 to 16 atoms); for large ones collect above 5 and halt above 25.
    """

    ensemble: t.Literal['nvt', 'npt'] = Field(
        default='nvt', description='Constant volume, or constant pressure with a cell that changes.'
    )
    temperature_start: FiniteFloat = Field(default=300.0, gt=0, description='Temperature at the start, in K.')
    temperature_stop: FiniteFloat | None = Field(
        default=None, gt=0, description='Temperature at the end, in K, reached linearly; without one it stays.'
    )
    pressure_start: FiniteFloat | None = Field(
        default=None, description='Pressure at the start, in GPa; only `npt`, 0 there.'
    )
    pressure_stop: FiniteFloat | None = Field(
        default=None, description='Pressure at the end, in GPa, reached linearly; only `npt`, without one it stays.'
    )
    barostat: t.Literal['iso', 'aniso', 'tri'] = Field(
        default='aniso', description='What of the cell changes in `npt`: its volume, its edges, or the angles too.'
    )
    steps: int = Field(default=1000, ge=1, description='Number of steps; a multiple of `grade_stride`.')
    timestep: FiniteFloat = Field(default=1.0, gt=0, le=20, description='Length of a step, in fs.')
    temperature_damping: FiniteFloat = Field(
        default=100.0, gt=0, description='Relaxation time of the thermostat, in fs.'
    )
    pressure_damping: FiniteFloat = Field(default=1000.0, gt=0, description='Relaxation time of the barostat, in fs.')
    collect_grade: FiniteFloat = Field(
        default=2.0, gt=0, description='Frames with an extrapolation grade of this or more are collected.'
    )
    halt_grade: FiniteFloat = Field(default=10.0, gt=0, description='The run ends when the grade exceeds this.')
    grade_stride: int = Field(
        default=10, ge=1, description='Number of steps between two looks at the grade; thermo data have the same.'
    )
    collect_stride: int | None = Field(
        default=None,
        ge=1,
        description='Number of steps between two collected frames, a multiple of `grade_stride`; without one, that.',
    )
    max_collected: int = Field(
        default=100, ge=2, description='Largest number of collected frames kept, evenly spaced; the halting one always.'
    )
    samples: int = Field(
        default=20, ge=0, description='Largest number of frames of any grade kept, evenly spaced over all steps.'
    )

    @model_validator(mode='after')
    def _check(self) -> MdConfig:
        """Refuse settings that contradict each other or would have no effect."""
        if self.collect_grade >= self.halt_grade:
            raise ValueError(f'`collect_grade` {self.collect_grade} must be below `halt_grade` {self.halt_grade}')
        if self.ensemble == 'nvt' and (self.pressure_start, self.pressure_stop) != (None, None):
            raise ValueError('`pressure_start` and `pressure_stop` need `ensemble: npt`')
        for name in ('steps', 'collect_stride'):
            if (getattr(self, name) or 0) % self.grade_stride:
                raise ValueError(f'`{name}` {getattr(self, name)} must be a multiple of `grade_stride`')
        for name in ('temperature_damping', 'pressure_damping'):
            if getattr(self, name) < 10 * self.timestep:
                raise ValueError(f'`{name}` {getattr(self, name)} fs must be 10 steps or more')
        return self


class GuardConfig(Config):
    """Which candidates are fit for DFT, and new."""

    closest: FiniteFloat = Field(
        default=0.7, ge=0, le=1, description='No distance is below this times the sum of the two covalent radii.'
    )
    distinct: FiniteFloat = Field(
        default=0.02,
        gt=0,
        description='Candidates are the same as each other, or as labelled frames, when their distances agree to this '
        'length, in Å.',
    )
    energy_window: FiniteFloat | None = Field(
        default=10.0,
        gt=0,
        description='Largest difference between the energy of a candidate under the potential and the median of the '
        'frames that its walker visited, in eV/atom; null for none. Keep it wide: a potential that extrapolates errs '
        'by eV/atom.',
    )
    max_grade: FiniteFloat | None = Field(
        default=None,
        gt=0,
        description='Candidates with a higher extrapolation grade are rejected; null for none. Early grades run into '
        'the thousands on harmless frames.',
    )


class SwarmConfig(Config):
    """Candidates around one halted structure."""

    count: int = Field(default=20, ge=0, description='Number of candidates around each halted frame.')
    shares: dict[str, float] = Field(
        default={'rattle': 2, 'burst': 1, 'modes': 1},
        description='Share of each kind of candidates, in any unit: random displacements (`rattle`), short bursts of '
        'molecular dynamics (`burst`), displacements along normal modes (`modes`). Kinds that are not named have none; '
        'random displacements make up for candidates of the other kinds that cannot be made.',
    )
    amplitude: FiniteFloat = Field(
        default=0.18, gt=0, le=1, description='Standard deviation of the random displacements, in Å.'
    )
    closest: FiniteFloat = Field(
        default=0.7, gt=0, le=1, description='No distance is below this times the sum of the two covalent radii.'
    )
    burst_temperature: FiniteFloat = Field(default=1500.0, gt=0, description='Temperature of the bursts, in K.')
    burst_steps: int = Field(
        default=200, ge=1, le=10_000, description='Number of steps of a burst, from which come up to four candidates.'
    )
    burst_timestep: FiniteFloat = Field(default=1.0, gt=0, le=20, description='Length of a step of a burst, in fs.')
    mode_temperature: FiniteFloat = Field(
        default=1000.0, gt=0, description='Temperature that sets the amplitudes along the normal modes, in K.'
    )
    max_mode_atoms: int = Field(
        default=128,
        ge=1,
        description='Larger frames get random displacements in place of normal modes, which take 6 evaluations of the '
        'potential per atom.',
    )

    @model_validator(mode='after')
    def _check_shares(self) -> SwarmConfig:
        """Refuse unknown kinds and shares that are negative, infinite or all 0."""
        kinds = list(SwarmConfig.model_fields['shares'].default)
        if unknown := sorted(set(self.shares) - set(kinds)):
            raise ValueError(f'`shares` names the unknown kind `{unknown[0]}`; the kinds are: {", ".join(kinds)}')
        wrong = [kind for kind, share in self.shares.items() if not 0 <= share < float('inf')]
        if wrong or not any(self.shares.values()):
            raise ValueError('`shares` must be numbers from 0 up, and at least one above 0')
        return self


class EmbeddingConfig(Config):
    """Large frames cut down to periodic boxes that DFT can pay for."""

    max_dft_atoms: int = Field(
        default=64,
        ge=8,
        description='Frames with more atoms are replaced by a box of at most this many around the atom of highest '
        'extrapolation grade.',
    )
    relaxation_steps: int = Field(
        default=100,
        ge=0,
        description='Largest number of steps in which the atoms beyond the cutoff from the core follow the forces of '
        'the potential; 0 leaves them where they were.',
    )
    force_tolerance: FiniteFloat = Field(
        default=0.5, gt=0, description='The relaxation ends when no force on these atoms is larger, in eV/Å.'
    )
    grade_tolerance: FiniteFloat = Field(
        default=0.01,
        gt=0,
        description='Largest difference between the grades of a core atom in the large cell and in the box, relative '
        'to the grade or, below 1, to 1.',
    )
    closest: FiniteFloat = Field(
        default=0.7,
        gt=0,
        le=1,
        description='No distance in a box is below this times the sum of the two covalent radii, unless the large cell '
        'has such a distance.',
    )


class StageConfig(Config):
    """One stage of a campaign: what its walkers must come through; what is not given is as in `MdConfig`."""

    temperature: FiniteFloat = Field(gt=0, description='Temperature that the walkers end at, in K.')
    pressure: FiniteFloat | None = Field(
        default=None, description='Pressure that the walkers end at, in GPa, with a cell that changes.'
    )
    steps: int | None = Field(default=None, ge=1, description='Number of steps of each walker.')
    structures: tuple[str, ...] = Field(
        default=(), description='Names of the structures that walk, such as the large ones of a last stage; none: all.'
    )
    collect_grade: FiniteFloat | None = Field(
        default=None, gt=0, description='Frames with an extrapolation grade of this or more are collected.'
    )
    halt_grade: FiniteFloat | None = Field(
        default=None, gt=0, description='A walker ends when the grade exceeds this; large cells need a higher one.'
    )

    def md(self, base: MdConfig) -> MdConfig:
        """Return the settings of the walkers of this stage.

        :raises ValidationError: when they contradict each other.
        """
        names = ('steps', 'collect_grade', 'halt_grade')
        changes: dict[str, t.Any] = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        changes['temperature_stop'] = self.temperature
        if self.pressure is not None:
            changes |= {'ensemble': 'npt', 'pressure_stop': self.pressure}
        return MdConfig.model_validate(base.model_dump() | changes)


class AuditConfig(Config):
    """The audit: frames drawn at random from the MD below the halt threshold, labelled, never trained on."""

    count: int = Field(default=5, ge=1, description='Number of frames drawn in each cycle.')
    large_atoms: int = Field(default=32, ge=2, description='Cells of this many atoms or more are large.')
    reserved_share: float = Field(
        default=0.2,
        ge=0,
        le=0.5,
        description='Share of the audit that small cells, and large ones, get at least, if there are so many.',
    )
    pooling: t.Literal['potential', 'stage'] = Field(
        default='potential',
        description='Whose audit frames speak for the current potential: those of the MD that it made itself '
        '(`potential`: unbiased, few), or all of the stage, evaluated anew with it (`stage`: more, rather too strict).',
    )
    confidence: float = Field(
        default=0.95, gt=0.5, lt=1, description='Probability that the interval of the audit error holds the truth.'
    )


class StopConfig(Config):
    """When a campaign ends."""

    quiet_rounds: int = Field(
        default=2,
        ge=1,
        description='A stage is passed when every walker came to its end in this many cycles in a row, under the same '
        'potential.',
    )
    target: FiniteFloat = Field(
        default=0.1, gt=0, description='Force RMSE of the audit, over components, that is wanted, in eV/Å.'
    )
    min_audit: int = Field(
        default=10, ge=1, description='Smallest number of audit frames that the audit error may be judged by.'
    )
    judged_by: t.Literal['estimate', 'upper'] = Field(
        default='estimate',
        description='What must not exceed the target: the audit error itself, or the upper limit of its confidence '
        'interval, which takes some 20 to 40 audit frames.',
    )
    patience: int = Field(
        default=5, ge=1, description='The campaign stops after this many cycles without improvement of the audit error.'
    )
    min_improvement: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description='The audit error has improved when it is lower than the best of its stage by this share of that.',
    )
    max_cycles: int = Field(default=50, ge=1, description='Largest number of exploration cycles.')
    max_core_hours: FiniteFloat | None = Field(
        default=None, gt=0, description='The campaign stops after this many core-hours of DFT; null: no limit.'
    )


class GrowthConfig(Config):
    """What is done when the walkers are quiet and the error is above the target: first more data, then more basis."""

    frames: int = Field(
        default=10,
        ge=0,
        description='Number of frames, drawn at random from the quiet MD, that are labelled and trained on at a time, '
        'as long as that lowers the audit error; when it stalls, the basis grows. 0: the basis grows at once.',
    )
    factor: FiniteFloat = Field(default=1.5, ge=1, le=10, description='Growth of the number of functions in one step.')
    min_step: int = Field(default=25, ge=1, description='Functions that one step adds at least, per element.')
    max_functions: int = Field(
        default=500, ge=1, description='Largest number of functions per element; what there are now: no growth.'
    )


class ValidationConfig(Config):
    """Which properties of a crystal are compared with DFT, and from which frames."""

    elastic_constants: bool = Field(default=True, description='Compute elastic constants, atoms relaxed under strain.')
    phonons: bool = Field(default=True, description='Compute phonon frequencies.')
    volume_range: float = Field(
        default=0.06,
        gt=0,
        le=0.3,
        description='The equation of state goes from 1 - this to 1 + this times the volume of the structure.',
    )
    volume_count: int = Field(default=7, ge=5, description='Number of volumes of the equation of state.')
    strain: float = Field(
        default=0.005, gt=0, le=0.03, description='Strain of the frames that elastic constants come from.'
    )
    displacement: float = Field(
        default=0.03, gt=0, le=0.1, description='Displacement of the atoms that phonons come from, in Å.'
    )
    supercell: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(
        default=(2, 2, 2), description='Number of primitive cells along each vector of it, for phonons.'
    )
    qpoints: tuple[str, ...] | None = Field(
        default=None,
        description='Special points of the lattice to compute phonons at, by the names of ASE (G is Γ); null for all '
        'that the supercell has exactly.',
    )
    symmetry_tolerance: float = Field(
        default=1e-3, gt=0, le=0.1, description='Atoms count as symmetric when they are this close to it, in Å.'
    )


class PropertyTolerances(Config):
    """How far a property may be from that of DFT; null for one that is reported but not judged."""

    lattice_constant: float | None = Field(default=0.1, gt=0, description='Of the lattice constant, in %.')
    bulk_modulus: float | None = Field(default=2.0, gt=0, description='Of the bulk modulus, in %.')
    elastic_constants: float | None = Field(
        default=5.0,
        gt=0,
        description='Of each elastic constant, in %; of a tenth of the largest one where the constant is smaller.',
    )
    phonons: float | None = Field(default=0.2, gt=0, description='Of each phonon frequency, in THz.')
