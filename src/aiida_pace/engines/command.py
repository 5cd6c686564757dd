"""Parts shared by the command lines: arguments, error messages, output files that are complete or absent."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
import typing as t
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from aiida_pace import __version__
from aiida_pace.engines.ace import AceModel, EvaluationError
from aiida_pace.frames import Frames, FramesError

__all__ = (
    'SettingsError',
    'argument_parser',
    'at_least',
    'error_prefix',
    'load',
    'load_settings',
    'run',
    'whole_file',
    'write_frames',
)

Settings = t.TypeVar('Settings')


class SettingsError(ValueError):
    """A file of settings that cannot be used."""


def error_prefix(program: str) -> str:
    """Return the start of the last line on stderr after an error of ``program``; parsers look for it."""
    return f'{program}: error: '


def argument_parser(program: str, description: str | None, output: str) -> argparse.ArgumentParser:
    """Return a parser of the arguments that the command lines share.

    :param output: default name of the file to write.
    """
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument('frames', type=Path, help='archive of frames (.npz), as `aiida_pace.frames` writes it')
    parser.add_argument('potential', type=Path, help='B-basis potential (.yaml)')
    parser.add_argument('--active-set', type=Path, help='active set (.asi) of the potential; needed for grades')
    parser.add_argument('--output', type=Path, default=Path(output), help='file to write [%(default)s]')
    parser.add_argument('--version', action='version', version=f'%(prog)s {__version__}')
    return parser


def at_least(minimum: int) -> Callable[[str], int]:
    """Return the type, for `argparse`, of an integer that is not below ``minimum``."""

    def integer(text: str) -> int:
        number = int(text)
        if number < minimum:
            raise argparse.ArgumentTypeError(f'{number} is below {minimum}')
        return number

    return integer


def load(arguments: argparse.Namespace) -> tuple[Frames, AceModel]:
    """Return the frames and the potential that the arguments name.

    :raises EvaluationError: when a file cannot be used, or the potential does not know an element of the frames.
    :raises FramesError: when the frames cannot be used.
    :raises OSError: when a file cannot be read.
    """
    frames = Frames.load(arguments.frames)
    asi = arguments.active_set.read_bytes() if arguments.active_set else None
    model = AceModel(arguments.potential.read_bytes(), asi)
    unknown = [element for element in frames.elements if element not in model.elements]
    if unknown:
        raise EvaluationError(f'the frames hold {", ".join(unknown)}, the potential is for {", ".join(model.elements)}')
    return frames, model


def load_settings(path: Path, kind: type[Settings]) -> Settings:
    """Return the settings in a JSON object that has exactly the fields of the dataclass ``kind``.

    :raises SettingsError: when the file holds anything else.
    :raises OSError: when the file cannot be read.
    """
    try:
        settings = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as exception:
        raise SettingsError(f'`{path}` is not JSON: {exception}') from exception
    names = {field.name for field in dataclasses.fields(t.cast(t.Any, kind))}
    if not isinstance(settings, dict) or set(settings) != names:
        raise SettingsError(f'`{path}` must be an object with {", ".join(sorted(names))}')
    return kind(**settings)


def run(program: str, action: Callable[[], None]) -> int:
    """Carry out ``action``; return 0, or 1 after an error, whose message is then the last line on stderr."""
    try:
        action()
    except (EvaluationError, FramesError, SettingsError, ImportError, OSError, json.JSONDecodeError) as exception:
        print(f'{error_prefix(program)}{" ".join(str(exception).split())}', file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[t.BinaryIO]:
    """Open a file to write; ``path`` appears when the file is complete, and not at all after an error."""
    unfinished = path.with_name(f'{path.name}.unfinished')
    try:
        with unfinished.open('wb') as handle:
            yield handle
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_frames(path: Path, frames: Frames, account: Mapping[str, t.Any]) -> None:
    """Write the account of the frames (``.json``), then the frames: where frames exist, the account does too."""
    with whole_file(path.with_suffix('.json')) as handle:
        handle.write(json.dumps(account, allow_nan=False).encode())
    with whole_file(path) as handle:
        frames.save(handle)
