"""The questions that a labelling asks of a labeller: one subclass for each program that can label frames."""

from __future__ import annotations

import abc
import dataclasses
import typing as t
from collections.abc import Collection, Iterable, Mapping, Sequence

from aiida import orm
from aiida.engine import Process
from aiida.engine.processes.process_spec import ProcessSpec

from aiida_pace.calculations.functions.labels import frame_key, split_structures
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.frames import Frames
from aiida_pace.workflows.check.trial import LabelTrial
from aiida_pace.workflows.label.reuse import Settings
from aiida_pace.workflows.values import fill_values

__all__ = ('Labeller', 'Result', 'choose_labeller', 'given_labellers')

Inputs = Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Result:
    """The outcome of a run for one of its frames.

    :param cause: why there is no label; None when there is one.
    :param may_retry: whether a second try may give one.
    :param is_cached: whether nothing was computed: AiiDA's cache had the run.
    :param costs: core-seconds by kind: ``computed``, and ``cached`` and so not spent.
    """

    cause: str | None = None
    may_retry: bool = False
    is_cached: bool = False
    costs: Mapping[str, float] = dataclasses.field(default_factory=dict)


class Labeller(abc.ABC):
    """What makes the labels of frames: which process, from which inputs, and how its outputs are read.

    :param inputs: what `define` declares below the namespace `name`, nested.
    """

    #: Namespace of the inputs.
    name: t.ClassVar[str]
    #: How the code is tried before any label is made.
    trial: t.ClassVar[LabelTrial]
    #: The process that labels a frame or a batch of frames.
    process_class: t.ClassVar[type[Process]]

    def __init__(self, inputs: Inputs) -> None:
        """Make a labeller with the inputs of its namespace."""
        self.inputs = inputs

    @classmethod
    @abc.abstractmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Declare the ports: an optional namespace `name`."""

    @classmethod
    def fill_builder(
        cls, builder: t.Any, code: orm.AbstractCode, values: Inputs, elements: Sequence[str], options: Inputs
    ) -> None:
        """Fill the namespace `name` of a builder with the plain ``values`` of a protocol.

        :param elements: chemical symbols of the campaign.
        :param options: ``metadata.options`` of every job.
        :raises ValueError: when a value has no port.
        """
        builder.code = code
        for option, value in options.items():  # one by one: the others, such as `resources`, have defaults
            builder.metadata.options[option] = value
        fill_values(builder, values, f'label.{cls.name}.')

    def validate(self) -> str | None:
        """Return one sentence on inputs that give no labels, None when they do."""
        return None

    def validate_elements(self, elements: Iterable[str]) -> str | None:
        """Return one sentence on elements that cannot be labelled, None when all can, as far as is known."""
        return None

    @property
    @abc.abstractmethod
    def settings(self) -> Settings:
        """The settings of the labels, by content: labels with the same settings are the same."""

    def consistent_inputs(self, parameters: orm.Dict, structures: Mapping[str, orm.StructureData]) -> dict[str, t.Any]:
        """Return the inputs that must differ so that differences between frames of one crystal have a meaning.

        :param parameters: settings of ``ValidationConfig``, which the frames are made with.
        :param structures: the crystals, by names that a calcfunction takes.
        """
        return {}

    def shares(self, frames: Frames, indices: Sequence[int], count: int) -> dict[str, list[int]]:
        """Return the frames of each job, by the key of the job: by default one frame each.

        :param frames: all frames of the labelling.
        :param indices: of the frames to label.
        :param count: number of jobs at once.
        """
        return {frame_key(index): [index] for index in indices}

    def job_nodes(self, dataset: AtomsDatasetData, jobs: Mapping[str, Sequence[int]]) -> dict[str, orm.Data]:
        """Return the node that each of the ``jobs`` labels: by default a structure."""
        indices = [index for share in jobs.values() for index in share]
        metadata = {'call_link_label': 'split_structures'}
        return dict(split_structures(dataset, orm.List(indices), metadata=metadata)) if indices else {}  # type: ignore[call-arg]

    @abc.abstractmethod
    def job_inputs(self, node: t.Any) -> dict[str, t.Any]:
        """Return the inputs of `process_class` to label ``node``, one of `job_nodes`."""

    def estimated_cost(self, sizes: Iterable[int]) -> float:
        """Return the relative cost of a job with frames of ``sizes`` atoms."""
        return float(sum(size**3 for size in sizes))

    def retry_inputs(self) -> Inputs:
        """Return the inputs of the second try: with them the labels must be the same."""
        return self.inputs

    @abc.abstractmethod
    def results(self, run: orm.ProcessNode, count: int) -> list[Result]:
        """Return the results of a run, one per frame of its job, which has ``count``."""

    @abc.abstractmethod
    def label_node(self, run: orm.ProcessNode) -> orm.Data:
        """Return the output of a run that holds labels."""

    @abc.abstractmethod
    def collect(
        self,
        dataset: AtomsDatasetData,
        picks: orm.Dict,
        reused: AtomsDatasetData | None,
        sources: Mapping[str, orm.Data],
    ) -> dict[str, AtomsDatasetData]:
        """Return labelled frames, by a calcfunction.

        :param picks: by `frame_key`: the name of one of the ``sources``, and the index of the frame in its job.
        :param reused: labelled frames of ``dataset``, taken as they are.
        :param sources: of `label_node`.
        """

    def warnings(self, runs: Collection[orm.ProcessNode]) -> list[str]:
        """Return sentences on labels that are there but should be looked at."""
        return []


def given_labellers(inputs: Inputs, labellers: Mapping[str, type[Labeller]]) -> list[str]:
    """Return the names of the labellers that have inputs."""
    return [name for name in labellers if inputs.get(name)]


def choose_labeller(inputs: Inputs, labellers: Mapping[str, type[Labeller]]) -> Labeller:
    """Return the one labeller that has inputs.

    :raises ValueError: when none has any, or more than one.
    """
    given = given_labellers(inputs, labellers)
    if len(given) != 1:
        names = ' or '.join(f'`{name}`' for name in labellers)
        what = f'{" and ".join(f"`{name}`" for name in given)} are given' if given else 'no labeller is given'
        raise ValueError(f'{what}: give the inputs of exactly one labeller, {names}.')
    return labellers[given[0]](inputs[given[0]])
