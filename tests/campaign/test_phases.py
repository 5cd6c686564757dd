"""The names of a campaign, to text and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiida_pace.campaign.phases import VALIDATION_PARTS, Origin, Phase, Step, cycle_label

CYCLES = st.integers(0, 1200)


@st.composite
def steps(draw: st.DrawFn) -> Step:
    phase = draw(st.sampled_from(Phase))
    return Step(phase, 0 if phase is Phase.CHECK else draw(CYCLES), draw(st.booleans()))


@given(steps())
def test_a_step_survives_its_label(step: Step) -> None:
    assert Step.parse(step.label) == step


@given(steps(), steps())
def test_each_step_has_a_label_of_its_own(one: Step, other: Step) -> None:
    assert (one.label == other.label) == (one == other)


@pytest.mark.parametrize(
    ('label', 'step'),
    [
        ('check', Step(Phase.CHECK)),
        ('initial_generate', Step(Phase.GENERATE)),
        ('initial_label', Step(Phase.LABEL)),
        ('cycle_03_audit', Step(Phase.AUDIT, 3)),
        ('cycle_03_audit_frames', Step(Phase.GATHER_AUDIT, 3)),
        ('cycle_03_audit_errors', Step(Phase.AUDIT_ERRORS, 3)),
        ('cycle_03_judge_again', Step(Phase.JUDGE, 3, again=True)),
        ('cycle_03_validate_again', Step(Phase.VALIDATE, 3, again=True)),
        ('cycle_100_train', Step(Phase.TRAIN, 100)),
    ],
)
def test_labels_are_those_of_campaigns_made_before(label: str, step: Step) -> None:
    assert step.label == label
    assert Step.parse(label) == step


@pytest.mark.parametrize(
    'label',
    ['', 'label', 'initial', 'cycle_1_label', 'cycle_00_label', 'cycle_01_', 'cycle_01_check', 'lane_1', '_again'],
)
def test_other_labels_are_those_of_no_step(label: str) -> None:
    assert Step.parse(label) is None


@st.composite
def origins(draw: st.DrawFn) -> Origin:
    given_name = draw(st.from_regex(r'[a-z][a-z0-9_]{0,20}', fullmatch=True) | st.just(''))
    if given_name:
        return Origin(given=given_name)
    return Origin(cycle=draw(CYCLES), part=draw(st.sampled_from(['', *VALIDATION_PARTS])))


@given(origins())
def test_an_origin_survives_its_name(origin: Origin) -> None:
    assert Origin.parse(origin.name) == origin


@pytest.mark.parametrize(
    ('name', 'origin'),
    [
        ('initial', Origin()),
        ('cycle_03', Origin(cycle=3)),
        ('cycle_03_volumes', Origin(cycle=3, part='volumes')),
        # The user may give any name to a data set.
        ('given_cycle_03_volumes', Origin(given='cycle_03_volumes')),
    ],
)
def test_names_are_those_of_campaigns_made_before(name: str, origin: Origin) -> None:
    assert origin.name == name
    assert Origin.parse(name) == origin


@pytest.mark.parametrize('name', ['', 'mine', 'given_', 'cycle_3', 'cycle_03_phonons', 'volumes'])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match='not the name of a data set'):
        Origin.parse(name)


def test_a_cycle_is_not_negative() -> None:
    with pytest.raises(ValueError, match='give 0 or more'):
        cycle_label(-1)
