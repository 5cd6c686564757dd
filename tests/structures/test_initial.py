import warnings
from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, chemical_symbols, covalent_radii
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_pace.config import InitialSetConfig, config_error
from aiida_pace.frames import Frames
from aiida_pace.structures.fingerprint import duplicate_indices, near_duplicate_indices
from aiida_pace.structures.initial import (
    atoms_per_element,
    bond_sources,
    choose_from_pool,
    generate_initial_set,
    generate_pool,
    recipe_counts,
    validate_keys,
)
from aiida_pace.structures.recipes import RECIPES
from aiida_pace.structures.shares import split_count

ELEMENTS = [symbol for symbol in chemical_symbols[1:97] if symbol not in ('Pm',)]

#: Settings that leave nothing to chance but the number of atoms.
STILL = {'displacement': 0, 'strain': 0, 'volumes': (1, 1), 'isolated_atoms': False}

pytestmark = pytest.mark.filterwarnings('ignore:.*an estimate:UserWarning')


def only(recipe: str, **changes: object) -> InitialSetConfig:
    return InitialSetConfig.model_validate({'shares': {recipe: 1}, 'isolated_atoms': False} | changes)


def overlaps(atoms: Atoms, factor: float) -> int:
    """Number of pairs nearer than ``factor`` times the sum of covalent radii, counted by ASE."""
    return len(neighbor_list('i', atoms, [factor * covalent_radii[number] for number in atoms.numbers]))


def nearest(atoms: Atoms) -> float:
    return float(neighbor_list('d', atoms, 6.0).min())


def names(frames: Frames) -> set[str]:
    return {str(origin).split('/')[0] for origin in frames.origin}


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.sampled_from(ELEMENTS), min_size=1, max_size=3, unique=True),
    st.integers(0, 2**32),
    st.sampled_from([0.6, 0.7, 0.85]),
)
def test_no_recipe_makes_overlaps_with_any_element(elements: list[str], seed: int, closest: float) -> None:
    given_structures = [Atoms(elements[:1], cell=[8, 8, 8], pbc=True)]
    frames = generate_initial_set(elements, 40, seed=seed, closest=closest, structures=given_structures)
    recipes = {'isolated_atom', *RECIPES} - ({'compound', 'alloy'} if len(elements) == 1 else set())
    assert names(frames) == recipes
    assert [overlaps(atoms, closest * (1 - 1e-9)) for atoms in frames] == [0] * 40
    assert duplicate_indices(frames) == []


@settings(deadline=None, max_examples=20)
@given(
    st.integers(2, 60),
    st.dictionaries(st.sampled_from([name for name in RECIPES if name != 'user']), st.floats(0.1, 9), min_size=1),
)
def test_count_is_honoured_exactly(count: int, shares: dict[str, float]) -> None:
    assert len(generate_initial_set(['Al', 'Si'], count, seed=1, config=InitialSetConfig(shares=shares))) == count


@given(st.integers(0, 1000), st.dictionaries(st.text(max_size=3), st.floats(0, 1e3), min_size=1))
def test_allocation_is_whole_and_within_one_of_the_share(count: int, shares: dict[str, float]) -> None:
    if not sum(shares.values()):
        return
    counts = split_count(count, shares)
    assert sum(counts.values()) == count
    assert all(abs(counts[name] - count * share / sum(shares.values())) < 1 for name, share in shares.items())


def test_same_seed_same_frames_and_recipes_do_not_disturb_each_other() -> None:
    frames = generate_initial_set('Si', 40, seed=7)
    again = generate_initial_set('Si', 40, seed=np.random.default_rng(7))
    assert all(np.array_equal(column, again.columns()[name]) for name, column in frames.columns().items())
    other = generate_initial_set('Si', 40, seed=8)
    assert not np.array_equal(frames.cells, other.cells)
    more = generate_initial_set('Si', 60, seed=7, config=InitialSetConfig(shares={'bulk': 1, 'packing': 1}))
    packings = [f.take(np.flatnonzero(f.origin == 'packing')[:4]) for f in (frames, more)]
    assert np.array_equal(packings[0].positions, packings[1].positions)


def test_isolated_atoms_come_first_one_per_element_in_vacuum() -> None:
    frames = generate_initial_set(['Si', 'Al'], 10, seed=1, config=InitialSetConfig(vacuum=11.0))
    first = [frames.atoms(0), frames.atoms(1)]
    assert [str(atoms.symbols) for atoms in first] == ['Al', 'Si']
    assert list(frames.origin[:2]) == ['isolated_atom'] * 2
    assert 'isolated_atom' not in frames.origin[2:]
    assert not any(atoms.pbc.any() for atoms in first)
    assert all(np.allclose(atoms.cell.array, 11.0 * np.eye(3)) for atoms in first)


def test_dimers_reach_from_seven_tenths_of_the_bond_to_the_cutoff() -> None:
    frames = generate_initial_set('Al', 60, seed=1, config=only('dimer'), cutoff=6.0)
    lengths = sorted(atoms.get_distance(0, 1) for atoms in frames)
    bond = 4.05 / 2**0.5
    assert 0.7 * bond <= lengths[0] < 0.72 * bond
    assert 5.8 < lengths[-1] <= 6.0
    assert max(np.diff(lengths)) < 0.2
    assert all(atoms.cell.lengths().min() >= 10 and not atoms.pbc.any() for atoms in frames)


def test_dimers_and_compounds_cover_all_pairs() -> None:
    pairs = Counter(str(a.symbols) for a in generate_initial_set(['Al', 'Si'], 9, seed=1, config=only('dimer')))
    assert pairs == {'Al2': 3, 'AlSi': 3, 'Si2': 3}
    compounds = generate_initial_set(['Al', 'Si'], 20, seed=1, config=only('compound'))
    assert set(compounds.origin) == {f'compound/{n}' for n in ('rocksalt', 'cscl', 'zincblende', 'fluorite', 'L1_2')}
    ratios = {
        round(float(np.mean(atoms.numbers == 13)), 3)
        for atoms in compounds
        if atoms.info['origin'] in ('compound/fluorite', 'compound/L1_2')
    }
    assert ratios == {0.25, 0.333, 0.667, 0.75}


def test_trimers_vary_lengths_and_angles() -> None:
    frames = generate_initial_set('Si', 80, seed=1, config=only('trimer'))
    angles = [atoms.get_angle(1, 0, 2) for atoms in frames]
    assert min(angles) < 60
    assert max(angles) > 150
    assert np.std([atoms.get_distance(0, 1) for atoms in frames]) > 0.3


@pytest.mark.parametrize(
    ('element', 'origin', 'distance'),
    [
        ('Al', 'bulk/fcc', 4.05 / 2**0.5),
        ('Fe', 'bulk/bcc', 2.87 * 0.75**0.5),
        ('Si', 'bulk/diamond', 5.43 * 3**0.5 / 4),
        ('Ti', 'bulk/hcp', 2.95 * (1 / 3 + 1.588**2 / 4) ** 0.5),
        ('Po', 'bulk/sc', 3.35),
        ('Bi', 'bulk/rhombohedral', 3.11),
    ],
)
def test_lattice_constants_of_nature_come_from_the_tables(element: str, origin: str, distance: float) -> None:
    frames = generate_initial_set(element, 1, seed=3, config=only('bulk', **STILL))
    assert frames.origin[0] == origin
    assert nearest(frames.atoms(0)) == pytest.approx(distance, abs=2e-3)


def test_given_lattice_constants_come_first() -> None:
    config = only('bulk', **STILL, lattice_constants={'Al-fcc': 4.4})
    assert nearest(generate_initial_set('Al', 1, seed=1, config=config).atoms(0)) == pytest.approx(4.4 / 2**0.5)
    assert 'the given lattice constant `Al-fcc`' in bond_sources('Al', config)['Al']
    config = only('compound', **STILL, lattice_constants={'Na-Cl-rocksalt': 5.64})
    frames = generate_initial_set(['Na', 'Cl'], 6, seed=1, config=config)
    salt = frames.atoms(int(np.flatnonzero(frames.origin == 'compound/rocksalt')[1]))
    assert nearest(salt) == pytest.approx(2.82)


def test_other_structures_scale_by_the_number_of_neighbours() -> None:
    frames = generate_initial_set('Al', 6, seed=1, config=only('bulk', **STILL))
    by_name = {str(origin): nearest(atoms) for origin, atoms in zip(frames.origin, frames, strict=True)}
    # Density functional theory gives 2.72 Å for sc and 2.58 Å for diamond aluminium (a = 2.72 and 5.96 Å).
    assert by_name['bulk/sc'] == pytest.approx(2.72, rel=0.03)
    assert by_name['bulk/diamond'] == pytest.approx(2.58, rel=0.03)


def test_estimates_are_stated_and_widen_the_volumes() -> None:
    with pytest.warns(UserWarning, match='Ga: 2.440 Å at 12 neighbours, from an estimate: twice the covalent radius'):
        frames = generate_initial_set('Ga', 200, seed=1, config=only('bulk', displacement=0))
    volumes = [atoms.get_volume() / len(atoms) for atoms in frames if atoms.info['origin'] == 'bulk/fcc']
    equal = 2.44**3 / 2**0.5
    assert min(volumes) < 0.75 * equal * 0.95
    assert max(volumes) > 1.35 * equal * 1.05
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        generate_initial_set(['Al', 'O'], 10, seed=1)


def test_small_cells_dominate_and_keep_their_limits() -> None:
    frames = generate_initial_set(['Al', 'Si'], 300, seed=1)
    assert np.mean(frames.sizes <= 16) > 0.75
    assert frames.sizes.max() <= 32
    small = np.array([str(o).split('/')[0] in ('bulk', 'compound', 'alloy') for o in frames.origin])
    assert set(frames.sizes[small]) >= set(range(1, 17))
    assert frames.sizes[small].max() == 16


def test_displacements_strain_and_volumes_fill_their_ranges() -> None:
    structure = bulk('Al', cubic=True).repeat(2)
    config = only('user', strain=0)
    frames = generate_initial_set('Al', 60, seed=1, config=config, structures=[structure])
    lengths = []
    for atoms in list(frames)[1:]:
        scale = (atoms.get_volume() / structure.get_volume()) ** (1 / 3)
        lengths.append(np.linalg.norm(atoms.positions - structure.positions * scale, axis=1).max())
    # Structures of the user's are disturbed half as much as small cells.
    assert 0.27 < max(lengths) <= 0.3
    assert min(lengths) < 0.05
    frames = generate_initial_set('Al', 200, seed=1, config=only('bulk', displacement=0, strain=0))
    fcc = [atoms.get_volume() / len(atoms) for atoms in frames if atoms.info['origin'] == 'bulk/fcc']
    assert min(fcc) < 0.8 * 4.05**3 / 4
    assert max(fcc) > 1.3 * 4.05**3 / 4
    assert 0.75 <= min(fcc) / (4.05**3 / 4) <= max(fcc) / (4.05**3 / 4) <= 1.35
    frames = generate_initial_set('Al', 50, seed=1, config=only('bulk', displacement=0, volumes=(1, 1), strain=0.2))
    assert np.ptp([atoms.get_volume() / len(atoms) for atoms in frames]) > 2


def test_vacancies_and_interstitials_change_the_density() -> None:
    for recipe, sign in (('vacancy', 1), ('interstitial', -1)):
        config = only(
            recipe, strain=0, volumes=(1, 1), displacement=1e-3, distinct=1e-6, lattice_constants={'Al-fcc': 4.6}
        )
        frames = generate_initial_set('Al', 40, seed=1, config=config)
        fcc = 4.6**3 / 4
        # The first of the structures in turn is the natural one.
        for atoms in list(frames)[::6]:
            assert atoms.get_volume() == pytest.approx(fcc * (len(atoms) + sign))
        assert frames.sizes.min() >= 7
        assert frames.sizes.max() <= 32


def test_surfaces_are_periodic_slabs_with_vacuum() -> None:
    frames = generate_initial_set('Al', 30, seed=1, config=only('surface', **STILL, vacuum=9.0))
    assert {str(origin) for origin in frames.origin} > {
        f'surface/fcc{hkl}' for hkl in ('111', '100', '110', '210', '211')
    }
    spacings = {'111': 4.05 / 3**0.5, '100': 4.05 / 2, '110': 4.05 / 8**0.5}
    for atoms in frames:
        normal = np.cross(atoms.cell[0], atoms.cell[1])
        heights = np.sort(atoms.positions @ normal / np.linalg.norm(normal))
        assert atoms.pbc.all()
        assert atoms.get_volume() / np.linalg.norm(normal) - np.ptp(heights) == pytest.approx(9.0)
        prototype, facet = atoms.info['origin'].removeprefix('surface/')[:-3], atoms.info['origin'][-3:]
        if prototype == 'fcc' and facet in spacings:
            assert np.diff(heights) == pytest.approx(spacings[facet])


def test_alloys_hold_all_elements_around_the_composition() -> None:
    config = only('alloy', composition={'Al': 3, 'Si': 1})
    frames = generate_initial_set(['Al', 'Si'], 300, seed=1, config=config)
    fractions = np.array([np.mean(atoms.numbers == 13) for atoms in frames if len(atoms) > 8])
    assert fractions.mean() == pytest.approx(0.75, abs=0.08)
    assert fractions.std() > 0.1
    assert all(len(set(atoms.numbers)) == 2 for atoms in frames)


def test_packings_are_dense_and_disordered() -> None:
    frames = generate_initial_set('Al', 60, seed=1, config=only('packing', max_atoms=32))
    volumes = np.array([atoms.get_volume() / len(atoms) for atoms in frames]) / (4.05**3 / 4)
    assert 0.9 < volumes.min() <= volumes.max() < 1.6
    large = next(atoms for atoms in frames if len(atoms) > 24)
    first, distances = neighbor_list('id', large, 3.6)
    assert np.ptp(np.bincount(first)) >= 3
    assert np.unique(distances.round(3)).size > 0.4 * len(distances)


def test_users_structures_come_as_they_are_then_disturbed() -> None:
    structures = [bulk('Al', cubic=True), Atoms('Al2', [[0, 0, 0], [2.5, 0, 0]], cell=[9, 9, 9])]
    frames = generate_initial_set('Al', 6, seed=1, config=only('user'), structures=structures)
    for index, structure in enumerate(structures):
        assert np.array_equal(frames.atoms(index).positions, structure.positions)
        assert np.array_equal(frames.atoms(index + 2).pbc, structure.pbc)
        assert not np.allclose(frames.atoms(index + 2).positions, structure.positions, atol=1e-3)
    assert np.array_equal(frames.atoms(3).cell.array, structures[1].cell.array)


@pytest.mark.parametrize(
    ('structure', 'message'),
    [
        (bulk('Cu'), 'structure 0 holds Cu, which is not among the elements'),
        (Atoms('Al', cell=[3, 3, 9], pbc=[True, True, False]), 'structure 0 is periodic in some directions only'),
        (Atoms('Al2', [[0, 0, 0], [1.6, 0, 0]], cell=[9, 9, 9], pbc=True), 'structure 0 has atoms closer than 0.7'),
    ],
)
def test_unfit_structures_are_refused(structure: Atoms, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate_initial_set('Al', 5, seed=1, structures=[structure])


def test_bad_input_is_refused_with_a_remedy() -> None:
    with pytest.raises(ValueError, match='`Xy` is not a chemical element'):
        generate_initial_set('Xy', 5, seed=1)
    with pytest.raises(ValueError, match='no element is given'):
        generate_initial_set([], 5, seed=1)
    with pytest.raises(ValueError, match='`count` is 1, fewer than the isolated atoms, 2: raise `count`'):
        generate_initial_set(['Al', 'Si'], 1, seed=1)
    with pytest.raises(ValueError, match='no recipe with a share above 0 applies'):
        generate_initial_set('Al', 5, seed=1, config=InitialSetConfig(shares={'alloy': 1}))
    with pytest.raises(ValueError, match=r'distinct frames .* raise `displacement`, `strain` or `volumes`'):
        generate_initial_set('Al', 200, seed=1, config=only('bulk', **STILL))
    with pytest.raises(ValueError, match='the covalent radius of the element with atomic number 98 is not known'):
        generate_initial_set('Cf', 5, seed=1)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'lattice_constants': {'Cu-fcc': 3.6}}, 'the key `Cu-fcc`: Cu is not among the elements Al, Si'),
        ({'lattice_constants': {'Al-Cu-fcc': 3.9}}, 'the key `Al-Cu-fcc`: Cu is not among the elements Al, Si'),
        ({'lattice_constants': {'Al_fcc': 4.05}}, 'the key `Al_fcc`: give `element-prototype`'),
        ({'lattice_constants': {'Al-fc': 4.05}}, 'the prototypes are fcc, bcc, hcp, sc, diamond, rocksalt'),
        ({'composition': {'Al': 1, 'Cu': 1}}, '`composition` has the key `Cu`, which is not among the elements Al, Si'),
    ],
)
def test_keys_of_other_elements_are_refused(settings: dict[str, dict[str, float]], message: str) -> None:
    config = InitialSetConfig(**settings)
    with pytest.raises(ValueError, match=message):
        generate_initial_set(['Al', 'Si'], 5, config=config)
    with pytest.raises(ValueError, match=message):
        generate_pool(['Al', 'Si'], 5, seed=1, config=config)


def test_keys_may_name_the_structure_that_an_element_has_in_nature() -> None:
    assert validate_keys(['In', 'Sn'], InitialSetConfig(lattice_constants={'In-bct': 3.3, 'In-Sn-cscl': 3.5})) is None


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'shares': {'bulck': 1}}, '`shares` names the unknown recipe `bulck`; the recipes are: dimer, trimer, bulk'),
        ({'shares': {'bulk': -1}}, 'setting `shares.bulk`: Input should be greater than or equal to 0'),
        (
            {'lattice_constants': {'Al-fcc': float('nan')}},
            'setting `lattice_constants.Al-fcc`: Input should be a finite number',
        ),
        ({'volumes': (1.2, 0.8)}, '`volumes` must be given as'),
        ({'prototypes': []}, 'unknown setting `prototypes`; InitialSetConfig knows: shares'),
        ({'max_atoms': 4}, 'setting `max_atoms`'),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, object], message: str) -> None:
    assert message in str(config_error(InitialSetConfig, changes))


def test_every_recipe_has_a_share_by_default() -> None:
    assert list(InitialSetConfig().shares) == list(RECIPES)


def test_isolated_atoms_do_not_count_as_environments() -> None:
    frames = generate_initial_set(['Al', 'Si'], 2, seed=1)
    assert atoms_per_element(frames) == {}
    crystal = Frames.from_atoms([bulk('Al'), bulk('Si')])
    assert atoms_per_element(Frames.concatenate([frames, crystal])) == {'Al': 1, 'Si': 2}
    assert atomic_numbers['Al'] in frames.numbers


def test_structures_that_are_alike_are_drawn_again() -> None:
    frames = generate_initial_set('Si', 300, seed=1, config=InitialSetConfig(shares={'dimer': 1, 'bulk': 9}))
    assert near_duplicate_indices(frames, 0.02) == []
    crowded = generate_initial_set('Si', 200, seed=1, config=only('dimer'), cutoff=2.0)
    assert len(crowded) == 200
    assert duplicate_indices(crowded) == []


class TestPool:
    CONFIG = InitialSetConfig(pool_count=80)
    FRAMES = generate_pool('Si', 10, seed=1, config=InitialSetConfig(pool_count=48)).frames

    def test_clusters_are_those_of_the_set_and_the_rest_is_many(self) -> None:
        """Before the pool stand just the isolated atoms, dimers and trimers that a set of that size has."""
        pool = generate_pool(['Al', 'Si'], 40, seed=1, config=self.CONFIG)
        counts = recipe_counts(pool.frames)
        plain = recipe_counts(generate_initial_set(['Al', 'Si'], 40, seed=1, config=self.CONFIG))
        clusters = ('isolated_atom', 'dimer', 'trimer')
        assert {name: counts[name] for name in clusters} == {name: plain[name] for name in clusters}
        others = {name: number for name, number in counts.items() if name not in clusters}
        assert sum(others.values()) == 80
        shares = {name: self.CONFIG.shares[name] for name in others}
        assert others == split_count(80, shares)

    def test_no_two_frames_are_alike(self) -> None:
        config = InitialSetConfig(pool_count=200, **STILL, shares={'bulk': 9, 'vacancy': 1})
        pool = generate_pool('Si', 20, seed=1, config=config)
        assert near_duplicate_indices(pool.frames, config.distinct) == []
        assert len(pool.frames) + sum(pool.duplicates.values()) == 200
        assert pool.duplicates['bulk'] > 0

    def test_all_structures_of_the_user_are_in_it(self) -> None:
        structures = [bulk('Si', a=length) for length in np.linspace(5.2, 5.7, 12)]
        config = InitialSetConfig(pool_count=20)
        pool = generate_pool('Si', 10, seed=1, config=config, structures=structures)
        found = [pool.frames.atoms(i) for i in np.flatnonzero(pool.frames.origin == 'user')]
        lengths = [atoms.get_volume() for atoms in found]
        assert lengths == pytest.approx([atoms.get_volume() for atoms in structures])

    def test_a_set_of_clusters_alone_needs_no_pool(self) -> None:
        pool = generate_pool('Si', 7, seed=1, config=InitialSetConfig(shares={'dimer': 1}))
        assert recipe_counts(pool.frames) == {'dimer': 6, 'isolated_atom': 1}

    @settings(deadline=None, max_examples=40)
    @given(st.integers(1, 60), st.lists(st.integers(0, 49), max_size=60), st.integers(0, 2**32))
    def test_ranked_frames_come_after_the_clusters(self, count: int, ranked: list[int], seed: int) -> None:
        frames = self.FRAMES
        clusters = np.flatnonzero(np.isin(frames.origin, ('isolated_atom', 'dimer', 'trimer'))).tolist()
        chosen = choose_from_pool(frames, count, seed=seed, ranked=ranked)
        assert len(chosen) == len(set(chosen)) == min(count, len(frames))
        wanted = list(dict.fromkeys([*clusters, *ranked]))
        assert chosen[: len(wanted)] == wanted[:count]
        assert chosen == choose_from_pool(frames, count, seed=seed, ranked=ranked)

    def test_without_a_ranking_the_recipes_have_their_shares(self) -> None:
        pool = generate_pool(['Al', 'Si'], 60, seed=1, config=InitialSetConfig(pool_count=300))
        chosen = recipe_counts(pool.frames.take(choose_from_pool(pool.frames, 60, seed=1)))
        plain = recipe_counts(generate_initial_set(['Al', 'Si'], 60, seed=1))
        assert all(abs(chosen.get(name, 0) - plain.get(name, 0)) <= 1 for name in {*chosen, *plain})
        first, other = (choose_from_pool(pool.frames, 60, seed=seed) for seed in (1, 2))
        assert first != other
