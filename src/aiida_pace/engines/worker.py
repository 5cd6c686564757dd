"""A calculator in a separate process: a crash of the calculator ends that process only."""

from __future__ import annotations

import dataclasses
import math
import multiprocessing
import os
import time
import typing as t
from collections.abc import Callable
from multiprocessing.connection import Connection

import numpy as np
import numpy.typing as npt

from aiida_pace.engines.calculators import CalculatorError, Structure, compute

__all__ = ('Answer', 'Worker', 'WorkerDiedError', 'WorkerTimeoutError')

#: Largest length of a cause in the output, in characters.
LONGEST = 300


class WorkerDiedError(RuntimeError):
    """The process of the calculator ended."""


class WorkerTimeoutError(RuntimeError):
    """The time limit was reached before the answer."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """The result for one structure: a label, see `calculators.Label`, or an ``error``.

    :param core_seconds: CPU time of the process with all its threads, and of its child processes.
    """

    core_seconds: float
    error: str | None = None
    energy: float = 0.0
    forces: npt.NDArray[np.float64] | None = None
    stress: npt.NDArray[np.float64] | None = None


class Worker:
    """A calculator in a separate process, which is started again after a crash."""

    def __init__(self, make: Callable[[], t.Any], end: float | None = None) -> None:
        """Start the process.

        :param make: returns the calculator; must be picklable.
        :param end: time limit, by ``time.monotonic``.
        :raises CalculatorError: when the calculator cannot be made.
        """
        self._make, self._end = make, end
        self.description = str(make)
        start = time.monotonic()
        try:
            self._start()
        except WorkerTimeoutError as exception:
            raise CalculatorError('making the calculator exceeded the time limit of the job') from exception
        self.load_seconds = time.monotonic() - start

    def __enter__(self) -> Worker:
        """Return the worker."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._stop()

    @property
    def is_late(self) -> bool:
        """Whether the time limit is exceeded."""
        return self._end is not None and time.monotonic() >= self._end

    def compute(self, structure: Structure) -> Answer:
        """Return the label of a structure or the error.

        :raises WorkerDiedError: when the process ended.
        :raises WorkerTimeoutError: when the time limit was reached first.
        """
        if self._process is None:
            try:
                self._start()
            except CalculatorError as exception:
                return Answer(0.0, str(exception))
        try:
            self._connection.send(structure)
            answer: Answer = self._receive()
        except (EOFError, OSError) as exception:
            self._process.join(timeout=10)
            code = self._process.exitcode
            self._stop()
            raise WorkerDiedError(
                f'signal {-code}' if code is not None and code < 0 else f'exit code {code}'
            ) from exception
        return answer

    def _start(self) -> None:
        context = multiprocessing.get_context('spawn')
        self._connection, remote = context.Pipe()
        process = context.Process(target=_work, args=(remote, self._make))
        process.start()
        remote.close()
        self._process: t.Any = process
        try:
            error: str | None = self._receive()
        except (EOFError, OSError) as exception:
            self._stop()
            raise CalculatorError('the process ended while making the calculator') from exception
        if error is not None:
            self._stop()
            raise CalculatorError(error)

    def _receive(self) -> t.Any:
        left = math.inf if self._end is None else max(0.0, self._end - time.monotonic())
        if not self._connection.poll(None if left == math.inf else left):
            self._stop()
            raise WorkerTimeoutError('the time limit was reached')
        return self._connection.recv()

    def _stop(self) -> None:
        if self._process is not None:
            self._connection.close()
            self._process.kill()
            self._process.join()
            self._process = None


def _work(connection: Connection, make: Callable[[], t.Any]) -> None:
    """Answer structures until the other end closes the connection."""
    try:
        calculator = make()
    except CalculatorError as exception:
        connection.send(_one_line(str(exception)))
        return
    connection.send(None)
    while True:
        try:
            structure = connection.recv()
        except EOFError:
            return
        start = _cpu_seconds()
        try:
            # An error may leave the calculator in a wrong state: the next structure gets a new calculator.
            fresh, calculator = calculator or make(), None
            label = compute(fresh, structure)
        except CalculatorError as exception:
            connection.send(Answer(_cpu_seconds() - start, _one_line(str(exception))))
        except Exception as exception:  # calculators may raise any exception
            words = _one_line(f'{type(exception).__name__}: {exception}')
            connection.send(Answer(_cpu_seconds() - start, words))
        else:
            calculator = fresh
            connection.send(Answer(_cpu_seconds() - start, None, *label))


def _cpu_seconds() -> float:
    """Return the CPU time of this process, all its threads, and of its children that ended."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def _one_line(text: str) -> str:
    words = ' '.join(text.split())
    return words if len(words) <= LONGEST else f'{words[:LONGEST]}…'
