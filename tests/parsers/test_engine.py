"""What holds for both calculations that make frames of frames."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import ExitCode

from aiida_pace.calculations.embed import PaceEmbedCalculation
from aiida_pace.calculations.swarm import PaceSwarmCalculation
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.frames import Frames
from tests.fixtures.frames import assert_identical, random_frames
from tests.fixtures.jobs import parse
from tests.fixtures.nodes import recorded_potential

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')

Parse = Callable[..., tuple[dict[str, orm.Data], ExitCode]]


@dataclasses.dataclass(frozen=True)
class Job:
    """A calculation, the link label of its frames, and what its account says when nothing was made."""

    name: str
    process: type
    frames: str
    causes: str


JOBS = [
    Job('pace.swarm', PaceSwarmCalculation, 'datasets__halts', 'missing'),
    Job('pace.embed', PaceEmbedCalculation, 'dataset', 'failed'),
]


@pytest.fixture(params=JOBS, ids=lambda job: job.name)
def job(request: pytest.FixtureRequest) -> Job:
    return request.param


@pytest.fixture
def parse_frames(job: Job, aiida_localhost: orm.Computer, tmp_path: Path) -> Parse:
    """Return a function that parses frames and an account (None: no file) for a data set of three frames."""

    def parser(frames: Frames | bytes | None, account: str | None = None, stderr: str = '') -> tuple[dict, ExitCode]:
        archive, report = job.process.FILENAMES_RESULT
        if isinstance(frames, Frames):
            frames.save(tmp_path / archive)
        elif frames is not None:
            (tmp_path / archive).write_bytes(frames)
        if account is not None:
            (tmp_path / report).write_text(account)
        inputs = {job.frames: AtomsDatasetData(random_frames()), 'potential': recorded_potential()}
        return parse(
            job.name,
            aiida_localhost,
            inputs={label: node.store() for label, node in inputs.items()},
            retrieved={job.process.filename_stderr(): stderr.encode()},
            temporary=tmp_path,
        )

    return parser


def test_frames_and_account_are_stored(parse_frames: Parse) -> None:
    frames = random_frames((4, 4), seed=3, graded=True)
    outputs, exit_code = parse_frames(frames, '{"count": 2, "parents": [0, 2]}')
    assert exit_code.status == 0
    assert_identical(outputs['dataset'].frames, frames)
    assert outputs['output_parameters'].get_dict() == {'count': 2, 'parents': [0, 2]}


def test_nothing_made_is_told_with_the_causes(parse_frames: Parse, job: Job) -> None:
    outputs, exit_code = parse_frames(
        Frames.from_atoms([]), json.dumps({'count': 0, job.causes: {'short_distance': 40, 'not_finite': 1}})
    )
    assert exit_code.status == 510
    assert '3 frames' in exit_code.message
    assert '(40 x short_distance, 1 x not_finite)' in exit_code.message
    assert set(outputs) == {'output_parameters'}


def test_refusal_is_passed_on(parse_frames: Parse, job: Job) -> None:
    program = job.process.PROGRAM
    outputs, exit_code = parse_frames(None, stderr=f'frame 1 of 3\n{program}: error: no such settings\n')
    assert exit_code.status == 310
    assert exit_code.message == f'{program} refused its input: no such settings'
    assert not outputs


def test_a_run_that_was_cut_short(parse_frames: Parse, job: Job) -> None:
    # The account is written first: alone it proves nothing.
    outputs, exit_code = parse_frames(None, '{"count": 2}', stderr='frame 1 of 3: 20 rattle\n')
    assert exit_code.status == 400
    assert job.process.FILENAMES_RESULT[0] in exit_code.message
    assert '"frame 1 of 3: 20 rattle"' in exit_code.message
    assert not outputs


def test_control_characters_are_left_out(parse_frames: Parse, job: Job) -> None:
    """A NUL byte in a message or a dictionary breaks PostgreSQL."""
    _, exit_code = parse_frames(None, stderr=f'{job.process.PROGRAM}: error: \x1b[31mno\x00 memory\x1b[0m\n')
    assert exit_code.message == f'{job.process.PROGRAM} refused its input: no memory'
    frames = random_frames((4, 4), seed=3)
    outputs, _ = parse_frames(frames, r'{"count": 2, "warn\u0000ing": ["\u001b[1mloud", {"a": "b\u0000"}]}')
    assert outputs['output_parameters'].get_dict() == {'count': 2, 'warning': ['loud', {'a': 'b'}]}


@pytest.mark.parametrize(
    ('frames', 'account', 'detail'),
    [
        (b'PK\x03\x04 cut', '{"count": 2}', 'not an archive of frames'),
        (random_frames((2, 3)), None, 'is missing or not JSON'),
        (random_frames((2, 3)), '{"count": ', 'is missing or not JSON'),
        (random_frames((2, 3)), '[2]', 'is not a JSON object'),
        (random_frames((2, 3)), '{"count": 2, "wall_time_seconds": NaN}', 'holds NaN'),
        (random_frames((2, 3)), '{"count": 3}', 'it holds 2 frames, its account tells of 3'),
        (
            random_frames((9, 9), numbers=(14, 32)),
            '{"count": 2}',
            'it holds Ge, which the frames given to the job do not',
        ),
        (random_frames((2, 3)).take([0, 0]), '{"count": 2}', 'repeat an earlier one'),
    ],
)
def test_results_that_cannot_be_used(
    parse_frames: Parse, frames: Frames | bytes, account: str | None, detail: str
) -> None:
    outputs, exit_code = parse_frames(frames, account)
    assert exit_code.status == 320
    assert detail in exit_code.message
    assert not outputs
