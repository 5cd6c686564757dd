import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_pace.frames import FloatArray, Frames
from aiida_pace.metrics.errors import errors, estimate_rmse, frame_errors
from tests.fixtures.frames import random_frames


def labelled_copper() -> Frames:
    images = []
    for seed, size in enumerate([1, 2, 3]):
        atoms = bulk('Cu', cubic=True) * (size, 1, 1)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = EMT()
        atoms.get_forces()
        images.append(atoms)
    return Frames.from_atoms(images)


def predictions(frames: Frames, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    assert frames.energy is not None
    assert frames.forces is not None
    rng = np.random.default_rng(seed)
    return frames.energy + rng.normal(size=len(frames)), frames.forces + rng.normal(size=frames.forces.shape)


def test_errors_agree_with_a_loop_over_atoms() -> None:
    frames = labelled_copper().replace(force_weight=np.tile([1, 0, 0.5, 2], 6), weight=np.array([1, 0, 3.0]))
    energy, forces = predictions(frames)
    squares, lengths, per_frame = [], [], []
    for index, atoms in enumerate(frames):
        first = frames.offsets[index]
        own = []
        for number, reference in enumerate(atoms.get_forces()):
            if frames.force_weight[first + number] > 0:
                own += [(x - y) ** 2 for x, y in zip(forces[first + number], reference, strict=True)]
                lengths.append(np.sqrt(sum(own[-3:])))
        squares += own
        per_frame.append(np.sqrt(sum(own) / len(own)))
    per_atom = [(energy[i] - frames.atoms(i).get_potential_energy()) / len(frames.atoms(i)) for i in (0, 2)]

    found = errors(frames, energy, forces)
    assert found.force_rmse == pytest.approx(np.sqrt(np.mean(squares)))
    assert found.force_mae == pytest.approx(np.mean(np.sqrt(squares)))
    assert found.force_vector_rmse == pytest.approx(np.sqrt(3) * found.force_rmse)
    assert found.force_vector_max == pytest.approx(max(lengths))
    assert found.energy_rmse == pytest.approx(np.sqrt((per_atom[0] ** 2 + per_atom[1] ** 2) / 2))
    assert found.energy_mae == pytest.approx((abs(per_atom[0]) + abs(per_atom[1])) / 2)
    assert (found.atoms, found.energies) == (18, 2)

    by_frame = frame_errors(frames, energy, forces)
    assert by_frame.force_rmse == pytest.approx(per_frame)
    assert list(by_frame.atoms) == [3, 6, 9]
    assert by_frame.energy == pytest.approx([per_atom[0], np.nan, per_atom[1]], nan_ok=True)


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 6))
def test_order_and_rotation_do_not_matter_and_frames_add_up(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    frames = random_frames(rng.integers(1, 6, size=count), seed=seed, labelled=True)
    energy, forces = predictions(frames, seed)
    expected = errors(frames, energy, forces)
    by_frame = frame_errors(frames, energy, forces)
    pooled = np.sqrt(np.sum(by_frame.atoms * by_frame.force_rmse**2) / by_frame.atoms.sum())
    assert pooled == pytest.approx(expected.force_rmse)

    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turned = frames.replace(forces=frames.forces @ rotation)
    found = errors(turned, energy, forces @ rotation)
    assert (found.force_rmse, found.force_vector_max) == pytest.approx((expected.force_rmse, expected.force_vector_max))

    order = rng.permutation(count)
    atoms = np.concatenate([np.arange(len(frames.numbers))[frames.atoms_slice(i)] for i in order])
    assert frame_errors(frames.take(order), energy[order], forces[atoms]).force_rmse == pytest.approx(
        by_frame.force_rmse[order]
    )


def test_frames_that_do_not_count_have_no_error() -> None:
    frames = labelled_copper().replace(force_weight=np.array([0.0] * 4 + [1.0] * 20))
    found = frame_errors(frames, *predictions(frames))
    assert list(np.isnan(found.force_rmse)) == [True, False, False]
    nothing = labelled_copper().replace(force_weight=np.zeros(24), weight=np.zeros(3))
    empty = errors(nothing, *predictions(nothing))
    assert {empty.force_rmse, empty.force_vector_max, empty.energy_rmse} == {None}
    none = Frames.from_atoms([])
    none = none.replace(energy=np.zeros(0), forces=np.zeros((0, 3)))
    assert len(frame_errors(none, np.zeros(0), np.zeros((0, 3))).force_rmse) == 0


def test_predictions_of_other_frames_and_frames_without_labels_are_refused() -> None:
    frames = labelled_copper()
    energy, forces = predictions(frames)
    with pytest.raises(ValueError, match='2 energies and 24 forces are predicted, there are 3 frames'):
        errors(frames, energy[:2], forces)
    with pytest.raises(ValueError, match='need labelled frames'):
        errors(Frames.from_atoms([Atoms('H')]), np.zeros(1), np.zeros((1, 3)))


#: Sigma of the log-normal squares of frames; nominal coverage is 95 %. Student's t reaches 86 % in the last row.
@pytest.mark.parametrize(('sigma', 'least', 'most'), [(0.3, 0.935, 0.97), (0.5, 0.93, 0.97), (0.8, 0.91, 0.96)])
@pytest.mark.parametrize('count', [5, 10, 20])
def test_interval_holds_the_truth_as_often_as_it_says(count: int, sigma: float, least: float, most: float) -> None:
    rng = np.random.default_rng(count)
    # The frames differ in how hard they are, the 24 force components of each add noise of their own.
    scales = np.exp(sigma * rng.normal(size=(2000, count)) - sigma**2 / 2)
    samples = np.sqrt(scales * rng.chisquare(24, size=scales.shape) / 24)
    found = [estimate_rmse(sample) for sample in samples]
    covered = np.mean([one.lower <= 1 <= one.upper for one in found])
    assert least <= covered <= most


@settings(deadline=None)
@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=30), st.floats(1e-12, 1e12))
def test_estimate_scales_and_lies_in_its_interval(values: list[float], factor: float) -> None:
    found, scaled = estimate_rmse(values), estimate_rmse(factor * np.array(values))
    assert found is not None
    assert scaled is not None
    assert found.value == pytest.approx(np.sqrt(np.mean(np.square(values))))
    assert scaled.value == pytest.approx(factor * found.value)
    if len(values) == 1:
        assert (found.lower, found.upper) == (None, None)
    else:
        assert 0 <= found.lower <= found.value * (1 + 1e-9)
        assert (found.upper is None) == (scaled.upper is None)
        if found.upper is not None:
            assert found.value <= found.upper * (1 + 1e-9) <= 101 * found.value
            assert scaled.upper == pytest.approx(factor * found.upper, rel=1e-6)


def test_interval_is_wider_for_fewer_frames_and_more_confidence() -> None:
    def width(values: FloatArray, confidence: float = 0.95) -> float:
        found = estimate_rmse(values, confidence)
        return found.upper - found.lower

    values = np.array([0.05, 0.1, 0.15, 0.08])
    assert width(values) > width(np.tile(values, 4))
    assert width(values, 0.99) > width(values) > width(values, 0.8)
    assert width(np.full(5, 0.1)) == 0
    assert width(np.zeros(5)) == 0


def test_two_frames_that_differ_set_no_upper_limit() -> None:
    found = estimate_rmse([0.1, 1.2])
    assert found.upper is None
    assert found.lower < found.value
    assert estimate_rmse([1.0, 1.1]).upper < 5


def test_nothing_is_estimated_from_nothing() -> None:
    assert estimate_rmse([]) is None
    assert estimate_rmse([np.nan]) is None
    assert estimate_rmse([np.nan, 0.1, 0.1]).frames == 2
    with pytest.raises(ValueError, match='confidence is 95'):
        estimate_rmse([0.1], 95)
