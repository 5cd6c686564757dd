"""Label a data set: energies, forces and stress of every frame from one labeller, none of them twice."""

from __future__ import annotations

import functools
import typing as t
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, append_
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_pace.calculations.functions.labels import (
    OUTCOMES,
    account_labels,
    frame_key,
    quarantine_labels,
    reuse_labels,
    separate_labels,
)
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.frames import AUDIT, Frames
from aiida_pace.structures.fingerprint import exact_fingerprints, near_duplicate_indices
from aiida_pace.structures.guards import check_frames
from aiida_pace.structures.outliers import implausible_labels
from aiida_pace.workflows.graph import cause_of, jobs_of
from aiida_pace.workflows.label.labeller import Inputs, Labeller, Result, choose_labeller
from aiida_pace.workflows.label.labellers import LABELLERS
from aiida_pace.workflows.label.ports import define_ports
from aiida_pace.workflows.label.reuse import (
    Settings,
    index_jobs,
    index_labels,
    index_request,
    interrupted_runs,
    reference_energies,
    stored_labels,
)
from aiida_pace.workflows.lane import balanced_shares
from aiida_pace.workflows.lane.label import LabelLaneWorkChain
from aiida_pace.workflows.resumable import ResumableWorkChain, labelled

__all__ = ('LabelWorkChain',)


class LabelWorkChain(ResumableWorkChain):
    """Label every frame of a data set with one of the `labellers`, in a bounded number of lanes.

    Frames that are not worth a label are rejected first. A frame that this profile has labelled before with the same
    settings, whatever campaign asked for it, is not computed again. A frame that fails gets a second try when the
    labeller says that it may help. Implausible labels are set apart. Every frame is accounted for: requested = reused
    + cached + labelled + failed + rejected.
    """

    #: By the namespace of their inputs. Who adds one adds it to the lane, too.
    labellers: t.ClassVar[Mapping[str, type[Labeller]]] = LABELLERS
    lane: t.ClassVar[type[LabelLaneWorkChain]] = LabelLaneWorkChain

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        """Define the process specification."""
        super().define(spec)
        define_ports(spec, cls.labellers)
        steps: t.Any = cls  # for `outline`, steps are functions of any work chain
        spec.outline(
            steps.reject_frames,
            steps.reuse,
            steps.split,
            steps.run_lanes,
            steps.run_robust_lanes,
            steps.inspect_runs,
            steps.collect,
            steps.quarantine,
            steps.results,
        )

    @classmethod
    def labeller(cls, inputs: Inputs) -> Labeller:
        """Return the labeller that ``inputs``, those of this work chain, choose.

        :raises ValueError: when they choose none, or more than one.
        """
        return choose_labeller(inputs, cls.labellers)

    @functools.cached_property
    def _labeller(self) -> Labeller:
        return self.labeller(self.inputs)

    @functools.cached_property
    def _settings(self) -> Settings:
        """The settings of the labels, by content."""
        return self._labeller.settings

    def reject_frames(self) -> None:
        """Reject what is not worth a label: atoms that are too close, and near duplicates of an earlier frame."""
        self.ctx.outcomes, self.ctx.core_seconds, self.ctx.sources = {}, {}, {}
        self.ctx.lanes, self.ctx.robust_lanes, self.ctx.second_jobs, self.ctx.warnings = [], [], {}, []
        self.ctx.reused, self.ctx.labels, self.ctx.quarantined = None, {}, None
        frames, closest = self.inputs.dataset.frames, self.inputs.closest.value
        if closest > 0:
            self._reject(np.flatnonzero(~check_frames(frames, closest=closest).mask), 'short distance')
        if self.inputs.duplicate_tolerance.value > 0:
            kept = self._open_frames()
            alike = near_duplicate_indices(frames.take(kept), self.inputs.duplicate_tolerance.value)
            self._reject([kept[index] for index in alike], 'near duplicate')

    def reuse(self) -> None:
        """Take the labels that are there already, in data sets and in the runs of labellings that were cut short."""
        frames = self.inputs.dataset.frames
        index_request(self.node, self._settings, frames)
        if not self.inputs.reuse.value:
            return
        origins = stored_labels(self._settings, frames, self._open_frames())
        if origins:
            nodes = sorted({origin.dataset.pk: origin.dataset for origin in origins.values()}.items())
            names = {pk: f'source_{number:03d}' for number, (pk, _) in enumerate(nodes)}
            picks = {frame_key(i): [names[origin.dataset.pk], origin.row] for i, origin in origins.items()}
            sources = {names[pk]: node for pk, node in nodes}
            self.ctx.reused = reuse_labels(self.inputs.dataset, orm.Dict(picks), **sources)  # type: ignore[arg-type]
            for index, origin in origins.items():
                self._settle(frame_key(index), 'reused', costs={'reused': origin.core_seconds})
        for index, runs in interrupted_runs(self._settings, frames, self._open_frames(), self.node.pk).items():
            for run in runs:
                result = self._labeller.results(run.node, run.frames)[run.row]
                if result.cause is None:
                    self._take(index, run.node, run.row)
                    self._settle(frame_key(index), 'reused', costs={'reused': sum(result.costs.values())})
                    break

    def split(self) -> None:
        """Make what each job labels, so that it links to its frames."""
        indices = self._open_frames()
        frames, count = self.inputs.dataset.frames, self.inputs.max_concurrent.value
        self.ctx.jobs = self._labeller.shares(frames, indices, count) if indices else {}
        self.ctx.nodes = self._labeller.job_nodes(self.inputs.dataset, self.ctx.jobs) if indices else {}
        index_jobs(self.node, self.ctx.jobs)
        self.report(f'{self.inputs.dataset.count} frames: {self._summary()}; {len(indices)} to label')

    def run_lanes(self) -> None:
        """Share the jobs between the lanes, by estimated cost, and start the lanes."""
        self._run_lanes('lane', self.ctx.jobs, self.ctx.nodes, self._labeller.inputs)

    def run_robust_lanes(self) -> None:
        """Give a second try to the frames of which the labeller says that it may help."""
        results = self._results(self.ctx.lanes, self.ctx.jobs)
        rows = sorted(index for index, result in results.items() if result.cause is not None and result.may_retry)
        if not rows:
            return
        self.report(f'{len(rows)} frames get a second try: {", ".join(frame_key(index) for index in rows)}')
        shares = self._labeller.shares(self.inputs.dataset.frames, rows, self.inputs.max_concurrent.value)
        # A key stands for the same frames in both tries.
        jobs = {
            key if self.ctx.jobs.get(key, share) == share else f'{key}_again': share for key, share in shares.items()
        }
        nodes = {key: self.ctx.nodes[key] for key in jobs if self.ctx.jobs.get(key) == jobs[key]}
        if new := {key: share for key, share in jobs.items() if key not in nodes}:
            nodes |= self._labeller.job_nodes(self.inputs.dataset, new)
        self.ctx.second_jobs = jobs
        index_jobs(self.node, jobs)
        self._run_lanes('robust_lane', jobs, nodes, self._labeller.retry_inputs())

    def inspect_runs(self) -> None:
        """Take the label of every frame, or the cause why there is none, and what it cost."""
        tries = [(self.ctx.lanes, self.ctx.jobs), (self.ctx.robust_lanes, self.ctx.second_jobs)]
        found = [self._results(lanes, jobs) for lanes, jobs in tries]
        for index in found[0]:
            results = [one[index] for one in found if index in one]
            costs = Counter[str]()
            for result in results:
                costs.update(result.costs)
            cause = results[-1].cause
            if cause is None:
                lanes, jobs = tries[len(results) - 1]
                key = next(key for key, share in jobs.items() if index in share)
                self._take(index, jobs_of(lanes)[key], jobs[key].index(index))
                is_cached = all(result.is_cached for result in results)
                self._settle(frame_key(index), 'cached' if is_cached else 'labelled', costs=costs)
            else:
                cause = f'{cause} (after two tries)' if len(results) > 1 else cause
                self._settle(frame_key(index), 'failed', cause, costs)
                self.report(f'{frame_key(index)} could not be labelled: {cause}')
        runs = [run for lanes, _ in tries for run in jobs_of(lanes).values()]
        self.ctx.warnings = self._labeller.warnings(runs)
        for warning in self.ctx.warnings:
            self.report(f'warning: {warning}')

    def collect(self) -> None:
        """Put all labels in one data set, those of an audit in another."""
        reused = self.ctx.reused
        if not self.ctx.sources:
            self.ctx.labels = {} if reused is None else self._by_purpose(reused)
            return
        names: dict[int, str] = {}
        picks = {}
        for key, (node, row) in sorted(self.ctx.sources.items()):
            picks[key] = [names.setdefault(node.pk, key), row]
        sources = {names[node.pk]: node for node, _ in self.ctx.sources.values()}
        self.ctx.labels = dict(self._labeller.collect(self.inputs.dataset, orm.Dict(picks), reused, sources))

    @staticmethod
    def _by_purpose(labels: AtomsDatasetData) -> dict[str, AtomsDatasetData]:
        """Return labels to train on and those of an audit; a set of one kind is not stored again."""
        is_audit = labels.frames.origin == AUDIT
        if is_audit.all() or not is_audit.any():
            return {'audit' if is_audit.all() else 'dataset': labels}
        return dict(separate_labels(labels))

    def quarantine(self) -> None:
        """Set labels apart that are implausible: they are handed over, but not as labels."""
        if not self.ctx.labels:
            return
        frames = Frames.concatenate(node.frames for _, node in sorted(self.ctx.labels.items()))
        references = reference_energies(self._settings, frames)
        window = (self.inputs.min_energy.value, self.inputs.max_energy.value)
        implausible = implausible_labels(frames, references, self.inputs.max_force.value, window)
        if implausible:
            keys = dict(zip(exact_fingerprints(self.inputs.dataset.frames), self._keys(), strict=True))
            digests = exact_fingerprints(frames)
            for index, cause in implausible.items():
                self._settle(keys[digests[index]], 'rejected', cause)
            parts = dict(quarantine_labels(orm.List(sorted(implausible)), **self.ctx.labels))
            self.ctx.quarantined, self.ctx.labels = parts.pop('quarantined'), parts

    def results(self) -> ExitCode | None:
        """Attach the labels and the account; fail when too many frames failed."""
        quarantined = {} if self.ctx.quarantined is None else {'quarantined': self.ctx.quarantined}
        for name, node in {**self.ctx.labels, **quarantined}.items():
            self._index(node, quarantined=name == 'quarantined')
            self.out(name, node)
        account = account_labels(
            self.inputs.dataset,
            orm.Dict(self.ctx.outcomes),
            orm.Dict(self.ctx.core_seconds),
            orm.List(self.ctx.warnings),
            **{f'labels_{name}': node for name, node in self.ctx.labels.items()},
        )
        self.out('output_parameters', account)
        requested, failed = account['requested'], account['failed']
        self.report(f'{requested} frames: {self._summary()}; {account["core_seconds"]:.0f} core-seconds')
        if failed > self.inputs.max_failed_fraction.value * requested:
            causes = '; '.join(f'{len(keys)} x {cause}' for cause, keys in account['failures'].items())
            limit = self.inputs.max_failed_fraction.value
            return self.exit_codes.ERROR_LABELS_FAILED.format(  # type: ignore[no-any-return]
                failed=failed, requested=requested, limit=limit, causes=causes
            )
        return None

    def _run_lanes(
        self, label: str, jobs: Mapping[str, Sequence[int]], nodes: Mapping[str, orm.Data], inputs: Inputs
    ) -> None:
        """Start lanes over ``jobs``, kept in the context as ``label`` + s."""
        sizes = self.inputs.dataset.frames.sizes
        costs = {key: self._labeller.estimated_cost(sizes[list(share)].tolist()) for key, share in jobs.items()}
        for number, keys in enumerate(balanced_shares(costs, self.inputs.max_concurrent.value), start=1):
            given = {self._labeller.name: inputs, 'structures': {key: nodes[key] for key in keys}}
            lane = self.submit(self.lane, labelled(f'{label}_{number}', given))
            self.to_context(**{f'{label}s': append_(lane)})

    def _results(self, lanes: Iterable[orm.WorkChainNode], jobs: Mapping[str, Sequence[int]]) -> dict[int, Result]:
        """Return the result of every frame of ``jobs``, by its index."""
        runs = jobs_of(lanes)
        found: dict[int, Result] = {}
        for key, share in jobs.items():
            run = runs.get(key)
            unstarted = [Result(cause_of(run))] * len(share)
            found |= dict(
                zip(share, unstarted if run is None else self._labeller.results(run, len(share)), strict=True)
            )
        return found

    def _take(self, index: int, run: orm.ProcessNode, row: int) -> None:
        """Keep where the label of a frame is: in which node, and at which place of that."""
        self.ctx.sources[frame_key(index)] = [self._labeller.label_node(run), row]

    def _keys(self) -> list[str]:
        return [frame_key(index) for index in range(self.inputs.dataset.count)]

    def _open_frames(self) -> list[int]:
        """Return the indices of the frames of which nothing has become yet."""
        return [index for index, key in enumerate(self._keys()) if key not in self.ctx.outcomes]

    def _settle(self, key: str, outcome: str, cause: str = '', costs: Mapping[str, float] | None = None) -> None:
        """Say what became of a frame; what it cost stays when that changes."""
        self.ctx.outcomes[key] = [outcome, cause]
        if costs is not None:
            self.ctx.core_seconds[key] = dict(costs)

    def _reject(self, indices: Collection[int], cause: str) -> None:
        for index in indices:
            self._settle(frame_key(index), 'rejected', cause)

    def _index(self, node: AtomsDatasetData, quarantined: bool) -> None:
        """Let other labellings find these labels."""
        digests = [digest.hex() for digest in exact_fingerprints(self.inputs.dataset.frames)]
        costs = {
            digest: sum(self.ctx.core_seconds.get(key, {}).values())
            for digest, key in zip(digests, self._keys(), strict=True)
        }
        index_labels(node, self._settings, costs, quarantined)

    def _summary(self) -> str:
        """Return how many frames have come to which end, in words."""
        ends = [outcome for outcome, _ in self.ctx.outcomes.values()]
        return ', '.join(f'{ends.count(outcome)} {outcome}' for outcome in OUTCOMES if outcome in ends) or '0 reused'
