"""`aiida-pace import` and `aiida-pace export`: data sets from files and to files."""

from __future__ import annotations

import typing as t
from pathlib import Path

import click

from aiida_pace.cli.root import cmd_root, profile_option, verbose_option, with_profile
from aiida_pace.formats.text import counted

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
@click.option(
    '--energy-key',
    metavar='NAME',
    help='Key of the total energy, eV.  [default: energy, or the key of a well-known pair]',
)
@click.option(
    '--forces-key', metavar='NAME', help='Key of the forces, eV/Å.  [default: forces, or the key of a well-known pair]'
)
@click.option(
    '--stress-key',
    metavar='NAME',
    help='Name of the stress, eV/Å³, negative under compression.  [default: the one that belongs to energy and forces '
    'by its name; none beside names that you give]',
)
@click.option(
    '--virial-key',
    metavar='NAME',
    help='Name of the virial, eV, positive under compression: the stress is minus the virial over the volume.',
)
@click.option('--no-stress', is_flag=True, help='Leave the stresses out.')
@click.option('--no-guards', is_flag=True, help='Also take implausible frames: short distances, huge forces, ...')
@click.option('--skip-faulty', is_flag=True, help='Store the good frames of files that hold faulty ones.')
@click.option('--origin', metavar='TEXT', default='', help='Origin of frames without an origin.')
@click.option('--label', metavar='TEXT', default='', help='Label of the data set.')
@verbose_option
@profile_option
@with_profile
def cmd_import(
    *,
    files: tuple[str, ...],
    labelled: bool | None,
    energy_key: str | None,
    forces_key: str | None,
    stress_key: str | None,
    virial_key: str | None,
    no_stress: bool,
    no_guards: bool,
    skip_faulty: bool,
    origin: str,
    label: str,
    verbose: bool,
) -> None:
    """Store the frames of FILEs as one data set, to start a campaign from.

    Read are extended XYZ (.xyz, .extxyz) and ASE databases (.db), in ASE's units: eV and Å. A data set has labels
    (energy and forces) for all frames or for none, and no structure twice. Well-known pairs of names, such as
    REF_energy and REF_forces, are taken as labels, and the output says so. Tensors have nine numbers, or six in the
    order xx yy zz yz xz xy.

    Where a frame is faulty, nothing is stored unless --skip-faulty is given. Implausible frames are set apart unless
    --no-guards is given: atoms closer than 0.55 of the sum of their covalent radii, forces above 100 eV/Å, forces that
    are all 0 without symmetry, energies no such atoms have, stresses in another unit. All frames that are not taken
    are listed with the reason. The exit code is 1 when nothing is stored.
    """
    from aiida_pace.data.dataset import AtomsDatasetData
    from aiida_pace.formats.exchange import ExchangeError, LabelKeys, read_frames
    from aiida_pace.formats.images import shown

    if sum((stress_key is not None, virial_key is not None, no_stress)) > 1:
        raise click.UsageError('give one of `--stress-key`, `--virial-key` and `--no-stress`.')
    keys = LabelKeys(energy_key, forces_key, '' if no_stress else stress_key, virial_key)
    try:
        imported = read_frames(files, labelled=labelled, keys=keys, origin=origin, guards=not no_guards)
    except ExchangeError as exception:
        raise click.ClickException(f'{exception}.') from exception
    faults = 0 if skip_faulty else len(imported.refused('fault'))
    if not len(imported.frames) or faults:
        _show_refusals(imported, verbose)
        raise click.ClickException(
            f'nothing is stored: {counted(faults, "faulty frame")}. Fix the source, or take the other frames with '
            '`--skip-faulty`.'
            if faults and len(imported.frames)
            else 'none of the frames can be taken: nothing is stored.'
        )
    node = AtomsDatasetData(imported.frames, label=shown(label, None), description=_sources(files)).store()
    click.echo(f'{type(node).__name__}<{node.pk}>: {_contents(imported.frames)}.')
    for note in imported.notes:
        click.echo(note)
    _show_refusals(imported, verbose)
    _show_ignored(imported)


def _sources(files: tuple[str, ...]) -> str:
    """Return which files a data set comes from, so that they can be recognised."""
    import hashlib

    from aiida_pace.formats.images import shown

    digests = {file: hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files}
    return 'Imported from:\n' + '\n'.join(
        f'{shown(Path(file).resolve(), None)} (sha256 {digest})' for file, digest in digests.items()
    )


def _contents(frames: Frames) -> str:
    """Return in a few words what a set of frames holds."""
    labels = 'without labels'
    if frames.is_labelled:
        labels = 'with energies and forces' if frames.stress is None else 'with energies, forces and stresses'
    atoms = counted(len(frames.numbers), 'atom')
    return f'{counted(len(frames), "frame")} {labels}, {atoms} of {", ".join(frames.elements)}'


def _show_refusals(imported: Imported, verbose: bool) -> None:
    """Write what was not taken, and why: faults first, then what the guards set apart, then the rest."""
    from rich import box
    from rich.table import Table

    from aiida_pace.cli.console import make_console

    titles = {'fault': 'faulty', 'implausible': 'set apart', 'left out': 'left out'}
    for kind, title in titles.items():
        refused = imported.refused(kind)
        if not refused:
            continue
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
        table.add_column(title, justify='right', no_wrap=True)
        table.add_column('because', overflow='fold')
        table.add_column('frames, counted from 0', overflow='fold')
        causes: dict[str, list[Refusal]] = {}
        for refusal in refused:
            causes.setdefault(refusal.cause, []).append(refusal)
        for cause, refusals in causes.items():
            table.add_row(str(len(refusals)), cause, _where(refusals, None if verbose else MAX_RUNS))
            for place in [refusal.place for refusal in refusals if refusal.place][: None if verbose else 1]:
                table.add_row('', f'  {place}', '')
        table.add_row(str(len(refused)), 'in all', '')
        make_console(markup=False).print(table)
    if imported.refused('implausible'):
        click.echo('Implausible frames are set apart, not stored: `--no-guards` takes them.')


def _show_ignored(imported: Imported) -> None:
    """Write what the frames had that is not taken."""
    if imported.ignored:
        names = ', '.join(f'{name} ({count})' for name, count in imported.ignored.items())
        click.echo(f'Left out, with the number of frames that had it: {names}.')
        click.echo('A data set has no place for it, or only some of the frames have it.')
    virials = [name for name in imported.ignored if 'virial' in name.lower()]
    if virials and imported.frames.is_labelled and imported.frames.stress is None:
        click.echo(f'Virials become stresses with `--virial-key {virials[0]}`.')


def _where(refusals: list[Refusal], most: int | None) -> str:
    """Return the indices of frames, by file, as ``a.xyz: 3, 7-9``; after ``most`` runs the number of frames left."""
    from aiida_pace.formats.images import shown

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
        lines.append(f'{shown(Path(source).name, None)}: {", ".join(words)}' + (f' and {left} more' if left else ''))
    return '\n'.join(lines)


@cmd_root.command('export')
@click.argument('node', metavar='PK')
@click.argument('file', type=click.Path(dir_okay=False, path_type=Path))
@click.option('--overwrite', is_flag=True, help='Replace an existing file.')
@profile_option
@with_profile
def cmd_export(node: str, file: Path, overwrite: bool) -> None:
    """Write a data set, or all frames that a campaign trains on, to FILE.

    PK, or UUID, is that of a data set or of a campaign, which may still run. The suffix of FILE chooses the format:
    extended XYZ (.xyz, .extxyz) and ASE databases (.db) hold everything, to the last bit; the data frame of pacemaker
    (.pckl.gzip) holds structures, labels and weights. numpy 1.23 to 2.4 and pandas 1.5 to 3.1 read it, whatever
    versions write it.
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
        click.echo(f'Left out, as an earlier data set has the same structures: {counted(len(repeated), "frame")}.')
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
            f'`{identifier}` is not the PK or UUID of exactly one node: give that of a data set or of a campaign.'
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
