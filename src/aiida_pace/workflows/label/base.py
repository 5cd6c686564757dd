"""Label a data set: energies, forces and stress of every frame from Quantum ESPRESSO, none of them twice."""

from __future__ import annotations

import functools
import typing as t
from collections.abc import Collection, Mapping

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, append_
from aiida.engine.processes.workchains.workchain import WorkChainSpec
from aiida.plugins import WorkflowFactory

from aiida_pace.calculations.functions.labels import (
    OUTCOMES,
    account_labels,
    collect_labels,
    frame_key,
    quarantine_labels,
    reuse_labels,
    split_structures,
)
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.formats.quantumespresso.settings import robust_parameters
from aiida_pace.structures.fingerprint import exact_fingerprints, near_duplicate_indices
from aiida_pace.structures.guards import check_frames
from aiida_pace.structures.outliers import implausible_labels
from aiida_pace.workflows.graph import jobs_of
from aiida_pace.workflows.label.ports import define_ports
from aiida_pace.workflows.label.quantumespresso import costs_of, failure, has_scf_failed, is_cached
from aiida_pace.workflows.label.reuse import (
    Settings,
    index_labels,
    index_request,
    interrupted_runs,
    reference_energies,
    settings_of,
    stored_labels,
)
from aiida_pace.workflows.lane import balanced_shares
from aiida_pace.workflows.lane.label import LabelLaneWorkChain, is_isolated_atom
from aiida_pace.workflows.resumable import ResumableWorkChain, labelled

PwBaseWorkChain: t.Any = WorkflowFactory('quantumespresso.pw.base')

__all__ = ('LabelWorkChain',)


class LabelWorkChain(ResumableWorkChain):
    """Label every frame of a data set with ``PwBaseWorkChain``, in a bounded number of lanes.

    Frames that no DFT should see are rejected first. A frame that this profile has labelled before with the same
    settings, whatever campaign asked for it, is not computed again. An SCF that fails gets a second, more careful try.
    Implausible labels are set apart. Every frame is accounted for: requested = reused + cached + labelled + failed +
    rejected.
    """

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        """Define the process specification."""
        super().define(spec)
        define_ports(spec)
        spec.outline(
            cls.reject_frames,
            cls.reuse,
            cls.split,
            cls.run_lanes,
            cls.run_robust_lanes,
            cls.inspect_runs,
            cls.collect,
            cls.quarantine,
            cls.results,
        )

    @functools.cached_property
    def _settings(self) -> Settings:
        """The settings of the labels, by content."""
        return settings_of(self.exposed_inputs(PwBaseWorkChain))

    def reject_frames(self) -> None:
        """Reject what is not worth DFT: atoms that are too close, and frames that say the same as an earlier one."""
        self.ctx.outcomes, self.ctx.core_seconds, self.ctx.trajectories = {}, {}, {}
        self.ctx.lanes, self.ctx.robust_lanes = [], []
        self.ctx.reused = self.ctx.labels = self.ctx.quarantined = None
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
            self.ctx.reused = reuse_labels(self.inputs.dataset, orm.Dict(picks), **sources)
            for index, origin in origins.items():
                self._settle(frame_key(index), 'reused', costs={'reused': origin.core_seconds})
        for index, runs in interrupted_runs(self._settings, frames, self._open_frames(), self.node.pk).items():
            good = next((run for run in runs if failure(run) is None), None)
            if good is not None:
                self.ctx.trajectories[frame_key(index)] = good.outputs.output_trajectory
                self._settle(frame_key(index), 'reused', costs={'reused': sum(costs_of([good]).values())})

    def split(self) -> None:
        """Make one structure per frame that DFT has to label, so that each run links to its frame."""
        indices = self._open_frames()
        self.ctx.structures = {}
        if indices:
            self.ctx.structures = split_structures(
                self.inputs.dataset, orm.List(indices), metadata={'call_link_label': 'split_structures'}
            )
        self.report(f'{self.inputs.dataset.count} frames; {self._summary()}; {len(indices)} go to DFT')

    def run_lanes(self) -> None:
        """Share the structures between the lanes, by estimated cost, and start the lanes."""
        self._run_lanes('lane', self.ctx.structures, self.exposed_inputs(PwBaseWorkChain))

    def run_robust_lanes(self) -> None:
        """Give the frames whose SCF failed a second try, with settings that converge more surely to the same label.

        An isolated atom gets one whatever the cause: without its energy there is no fit at all.
        """
        runs = jobs_of(self.ctx.lanes)
        failed = {
            key: node
            for key, node in self.ctx.structures.items()
            if has_scf_failed(runs.get(key)) or (is_isolated_atom(node) and failure(runs.get(key)) is not None)
        }
        if failed:
            self.report(f'{len(failed)} frames get a second try: {", ".join(sorted(failed))}')
            inputs = self.exposed_inputs(PwBaseWorkChain)
            parameters = orm.Dict(robust_parameters(inputs['pw']['parameters'].get_dict()))
            self._run_lanes('robust_lane', failed, {**inputs, 'pw': {**inputs['pw'], 'parameters': parameters}})

    def inspect_runs(self) -> None:
        """Take the label of every frame that DFT ran for, or the cause why there is none, and what it cost."""
        first, second = jobs_of(self.ctx.lanes), jobs_of(self.ctx.robust_lanes)
        for key in self.ctx.structures:
            runs = [jobs[key] for jobs in (first, second) if key in jobs]
            cause = failure(runs[-1] if runs else None)
            if cause is None:
                self.ctx.trajectories[key] = runs[-1].outputs.output_trajectory
                self._settle(key, 'cached' if is_cached(runs) else 'labelled', costs=costs_of(runs))
            else:
                cause = f'{cause} (after two tries)' if len(runs) > 1 else cause
                self._settle(key, 'failed', cause, costs_of(runs))
                self.report(f'{key} could not be labelled: {cause}')

    def collect(self) -> None:
        """Put all labels in one data set."""
        if self.ctx.trajectories or self.ctx.reused is not None:
            self.ctx.labels = collect_labels(self.inputs.dataset, self.ctx.reused, **self.ctx.trajectories)

    def quarantine(self) -> None:
        """Set labels apart that are implausible: they are handed over, but not as labels."""
        if self.ctx.labels is None:
            return
        frames = self.ctx.labels.frames
        references = reference_energies(self._settings, frames)
        window = (self.inputs.min_energy.value, self.inputs.max_energy.value)
        implausible = implausible_labels(frames, references, self.inputs.max_force.value, window)
        if implausible:
            keys = dict(zip(exact_fingerprints(self.inputs.dataset.frames), self._keys(), strict=True))
            digests = exact_fingerprints(frames)
            for index, cause in implausible.items():
                self._settle(keys[digests[index]], 'rejected', cause)
            parts = quarantine_labels(self.ctx.labels, orm.List(sorted(implausible)))
            self.ctx.labels, self.ctx.quarantined = parts.get('dataset'), parts['quarantined']

    def results(self) -> ExitCode | None:
        """Attach the labels and the account; fail when too many frames failed."""
        for name, node in (('dataset', self.ctx.labels), ('quarantined', self.ctx.quarantined)):
            if node is not None:
                self._index(node, quarantined=name == 'quarantined')
                self.out(name, node)
        account = account_labels(
            self.inputs.dataset, orm.Dict(self.ctx.outcomes), orm.Dict(self.ctx.core_seconds), self.ctx.labels
        )
        self.out('output_parameters', account)
        requested, failed = account['requested'], account['failed']
        self.report(f'{requested} frames: {self._summary()}; {account["core_seconds"]:.0f} core-seconds of DFT')
        if failed > self.inputs.max_failed_fraction.value * requested:
            causes = '; '.join(f'{len(keys)} x {cause}' for cause, keys in account['failures'].items())
            limit = self.inputs.max_failed_fraction.value
            return self.exit_codes.ERROR_LABELS_FAILED.format(
                failed=failed, requested=requested, limit=limit, causes=causes
            )
        return None

    def _run_lanes(self, label: str, structures: Mapping[str, orm.StructureData], pw: Mapping[str, t.Any]) -> None:
        """Start lanes over ``structures``, kept in the context as ``label`` + s."""
        costs = {key: float(len(structure.sites) ** 3) for key, structure in structures.items()}
        for number, share in enumerate(balanced_shares(costs, self.inputs.max_concurrent.value), start=1):
            inputs = {**pw, 'structures': {key: structures[key] for key in share}}
            lane = self.submit(LabelLaneWorkChain, labelled(f'{label}_{number}', inputs))
            self.to_context(**{f'{label}s': append_(lane)})

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
        return (
            ', '.join(f'{ends.count(outcome)} {outcome}' for outcome in OUTCOMES if outcome in ends) or 'none settled'
        )
