"""`aiida-pace import` and `aiida-pace export`: data sets from files and to files."""

from __future__ import annotations

import typing as t
from pathlib import Path

import click

from aiida_pace.cli.root import cmd_root, profile_option, verbose_option, with_profile

if t.TYPE_CHECKING:
    from aiida_pace.data.dataset import AtomsDatasetData
    from aiida_pace.formats.exchange import Imported, Refusal
    from aiida_pace.frames import Frames

__all__ = ('cmd_export', 'cmd_import')

#: Runs of frames named for each cause, unless all are asked for.
MAX_RUNS = 8


@cmd_root.command('import')
@click.argument('files', metavar='FILE...', nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@click.option(
    '--labelled/--unlabelled',
    default=None,
    help='Take labelled frames only, or take all without their labels.  [default: labelled ones only, if any]',
)
@click.option('--energy-key', metavar='NAME', default='energy', show_default=True, help='Name of the total energy, eV.')
@click.option('--forces-key', metavar='NAME', default='forces', show_default=True, help='Name of the forces, eV/Å.')
@click.option(
    '--stress-key',
    metavar='NAME',
    help='Name of the stress, eV/Å³, negative under compression.  [default: stress; none beside labels of other names]',
)
@click.option('--origin', metavar='TEXT', default='', help='Origin of the frames that do not name theirs.')
@click.option('--label', metavar='TEXT', default='', help='Label of the data set.')
@verbose_option
@profile_option
@with_profile
def cmd_import(
    *,
    files: tuple[str, ...],
    labelled: bool | None,
    energy_key: str,
    forces_key: str,
    stress_key: str | None,
    origin: str,
    label: str,
    verbose: bool,
) -> None:
    """Store the frames of FILEs as one data set, to start a campaign from.

    Read are extended XYZ (.xyz, .extxyz) and ASE databases (.db), in ASE's units: eV and Å. A data set has labels
    (energy and forces) for all frames or for none, and no structure twice. Frames that cannot be taken are listed with
    the reason; the others are stored. The exit code is 1 when there are none.
    """
    from aiida_pace.data.dataset import AtomsDatasetData
    from aiida_pace.formats.exchange import ExchangeError, LabelKeys, read_frames

    keys = LabelKeys(energy_key, forces_key, stress_key)
    try:
        imported = read_frames(files, labelled=labelled, keys=keys, origin=origin)
    except ExchangeError as exception:
        raise click.ClickException(f'{exception}.') from exception
    node = None
    if len(imported.frames):
        node = AtomsDatasetData(imported.frames, label=label, description=_sources(files)).store()
        click.echo(f'{type(node).__name__}<{node.pk}>: {_contents(imported.frames)}.')
    _show_refusals(imported, verbose)
    if node is None:
        raise click.ClickException('none of the frames can be taken: nothing is stored.')


def _sources(files: tuple[str, ...]) -> str:
    """Return which files a data set comes from, so that they can be recognised."""
    import hashlib

    digests = {file: hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files}
    return 'Imported from:\n' + '\n'.join(
        f'{Path(file).resolve()} (sha256 {digest})' for file, digest in digests.items()
    )


def _contents(frames: Frames) -> str:
    """Return in a few words what a set of frames holds."""
    labels = 'without labels'
    if frames.is_labelled:
        labels = 'with energies and forces' if frames.stress is None else 'with energies, forces and stresses'
    count = '1 frame' if len(frames) == 1 else f'{len(frames)} frames'
    return f'{count} {labels}, {len(frames.numbers)} atoms of {", ".join(frames.elements)}'


def _show_refusals(imported: Imported, verbose: bool) -> None:
    """Write what was not taken, and why."""
    from rich import box
    from rich.table import Table

    from aiida_pace.cli.console import make_console

    if imported.refusals:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
        table.add_column('refused', justify='right', no_wrap=True)
        table.add_column('because', overflow='fold')
        table.add_column('frames, counted from 0', overflow='fold')
        causes: dict[str, list[Refusal]] = {}
        for refusal in imported.refusals:
            causes.setdefault(refusal.cause, []).append(refusal)
        for cause, refusals in causes.items():
            table.add_row(str(len(refusals)), cause, _where(refusals, None if verbose else MAX_RUNS))
        table.add_row(str(len(imported.refusals)), 'in all', '')
        make_console(markup=False).print(table)
    if imported.ignored:
        names = ', '.join(f'{name} ({count})' for name, count in imported.ignored.items())
        click.echo(f'Left out, with the number of frames that had it: {names}.')
        click.echo('A data set has no place for it, or only some of the frames have it.')


def _where(refusals: list[Refusal], most: int | None) -> str:
    """Return the indices of frames, by file, as ``a.xyz: 3, 7-9``; after ``most`` runs the number of frames left."""
    runs: dict[str, list[list[int]]] = {}
    for refusal in refusals:
        file = runs.setdefault(refusal.source, [])
        if file and file[-1][1] == refusal.index - 1:
            file[-1][1] = refusal.index
        else:
            file.append([refusal.index, refusal.index])
    lines = []
    for source, file in runs.items():
        words = [str(first) if first == last else f'{first}-{last}' for first, last in file[:most]]
        left = sum(last - first + 1 for first, last in file[len(words) :])
        lines.append(f'{Path(source).name}: {", ".join(words)}' + (f' and {left} more' if left else ''))
    return '\n'.join(lines)


@cmd_root.command('export')
@click.argument('node', metavar='PK')
@click.argument('file', type=click.Path(dir_okay=False, path_type=Path))
@click.option('--overwrite', is_flag=True, help='Replace a file that is there already.')
@profile_option
@with_profile
def cmd_export(node: str, file: Path, overwrite: bool) -> None:
    """Write a data set, or all frames that a campaign trains on, to FILE.

    PK, or UUID, is that of a data set or of a campaign, which may still run. The suffix of FILE chooses the format:
    extended XYZ (.xyz, .extxyz) and ASE databases (.db) hold everything, to the last bit; the data frame of pacemaker
    (.pckl.gzip) holds structures, labels and weights.
    """
    from aiida_pace.formats.exchange import ExchangeError, unwritten, write_frames
    from aiida_pace.frames import Frames
    from aiida_pace.structures.fingerprint import duplicate_indices

    datasets = _find_datasets(node)
    frames = Frames.concatenate(dataset.frames for dataset in datasets)
    repeated = set(duplicate_indices(frames))
    lost = {name for dataset in datasets for name in dataset.frames.columns()} - set(frames.columns())
    frames = frames.take([index for index in range(len(frames)) if index not in repeated])
    try:
        write_frames(frames, file, overwrite=overwrite)
        lost |= set(unwritten(frames, file))
    except ExchangeError as exception:
        raise click.ClickException(f'{exception}.') from exception
    click.echo(f'{file}: {_contents(frames.replace(stress=None) if "stress" in lost else frames)}.')
    if repeated:
        click.echo(f'Left out, as an earlier data set has the same structures: {len(repeated)} frames.')
    if lost:
        click.echo(f'Left out, as the format or one of the data sets has no place for it: {", ".join(sorted(lost))}.')


def _find_datasets(identifier: str) -> list[AtomsDatasetData]:
    """Return the data set with this PK or UUID, or the labelled data sets of the campaign that has it.

    :raises click.ClickException: when there is nothing to export.
    """
    from aiida import orm
    from aiida.common.exceptions import MultipleObjectsError, NotExistent

    from aiida_pace.data.dataset import AtomsDatasetData
    from aiida_pace.report.campaign import PROCESS_TYPE
    from aiida_pace.workflows.records import campaign_state

    try:
        node = orm.load_node(identifier)
    except (MultipleObjectsError, NotExistent, ValueError) as exception:
        raise click.ClickException(
            f'`{identifier}` is the PK or UUID of no single node: give that of a data set or of a campaign.'
        ) from exception
    if isinstance(node, AtomsDatasetData):
        return [node]
    if not isinstance(node, orm.WorkChainNode) or node.process_type != PROCESS_TYPE:
        raise click.ClickException(
            f'{type(node).__name__}<{node.pk}> is neither a data set nor a campaign: give the PK of one.'
        )
    assert node.pk is not None
    if 'datasets' in node.outputs:
        return list(node.outputs.datasets.values())
    training = campaign_state(node.pk).training.values()
    if not training:
        raise click.ClickException(f'campaign {node.pk} has no labelled frames yet: `aiida-pace status` shows it.')
    return [t.cast(AtomsDatasetData, orm.load_node(dataset.uuid)) for dataset in training]
