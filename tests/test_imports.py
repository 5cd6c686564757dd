"""Who may import whom: the rules of the design, read from the source."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PACKAGE = 'aiida_pace'
SOURCE = Path(__file__).parents[1] / 'src' / PACKAGE
FILES = sorted(SOURCE.rglob('*.py'))

#: Layers by the first part of a module's name after the package, and the layers that each may import.
PURE = frozenset({'campaign', 'config', 'engines', 'formats', 'frames', 'metrics', 'structures', 'training'})
MAY_IMPORT: dict[str, frozenset[str]] = {
    **dict.fromkeys(PURE, PURE),
    'data': PURE | {'data'},
    'calculations': PURE | {'data', 'calculations'},
    'parsers': PURE | {'data', 'calculations', 'parsers'},
    'workflows': PURE | {'data', 'calculations', 'workflows'},
    'report': PURE | {'data', 'calculations', 'parsers', 'workflows', 'report'},
    'cli': PURE | {'data', 'calculations', 'parsers', 'workflows', 'report', 'cli'},
}

AIIDA = frozenset({'aiida', 'plumpy', 'kiwipy'})
#: Other plugins: reached through factories, so that their entry points say what is used.
PLUGINS = frozenset({'aiida_pseudo', 'aiida_quantumespresso', 'aiida_shell'})
#: The one exception: helpers of a plugin that have no entry point, so that no factory gives them.
WITHOUT_ENTRY_POINT = {'workflows': {'aiida_quantumespresso.workflows.protocols.utils'}}
#: The modules that may name Quantum ESPRESSO: its labeller with its trial, its formats, the protocols, and the table
#: of versions.
QUANTUM_ESPRESSO = (
    'formats/quantumespresso/',
    'formats/versions.py',
    'workflows/label/labellers.py',
    'workflows/label/quantumespresso.py',
    'workflows/protocols/__init__.py',
)
#: Engines, heavy or not installed where AiiDA is: imported where they are used.
ENGINES = frozenset({'lammps', 'pyace', 'tensorflow', 'tensorpotential'})
#: What a module of `engines` may import at its top, and what else inside its functions.
ENGINE_TOP = frozenset({'ase', 'numpy', 'scipy'})
ENGINE_LAZY = ENGINE_TOP | {'lammps', 'pandas', 'pyace', 'ruamel'}


@dataclasses.dataclass(frozen=True)
class Import:
    """One imported module, and whether importing the importer imports it."""

    module: str
    is_at_import_time: bool

    @property
    def root(self) -> str:
        return self.module.partition('.')[0]

    @property
    def layer(self) -> str | None:
        """Layer of one of our own modules; None for others and for the package itself."""
        root, *rest = self.module.split('.')
        return rest[0] if root == PACKAGE and rest else None


def is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test).rpartition('.')[2] == 'TYPE_CHECKING'


def imports(node: ast.AST, module: str, *, at_import_time: bool = True) -> Iterator[Import]:
    """Yield what the tree below ``node`` of ``module`` imports; a name imported from us counts as a module."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, at_import_time)
        elif isinstance(child, ast.ImportFrom):
            base = '.'.join([*module.split('.')[: -child.level or None], *([child.module] if child.module else [])])
            origin = base if child.level else str(child.module)
            yield Import(origin, at_import_time)
            if origin == PACKAGE:
                yield from (
                    Import(f'{PACKAGE}.{alias.name}', at_import_time)
                    for alias in child.names
                    if not alias.name.startswith('__')
                )
        elif isinstance(child, ast.If) and is_type_checking(child.test):
            yield from imports(ast.Module(child.body, []), module, at_import_time=False)
            yield from imports(ast.Module(child.orelse, []), module, at_import_time=at_import_time)
        else:
            is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from imports(child, module, at_import_time=at_import_time and not is_function)


def module_name(path: Path) -> str:
    return '.'.join([PACKAGE, *path.relative_to(SOURCE).with_suffix('').parts])


def layer_of(path: Path) -> str | None:
    """Return the layer of a file; None for ``__init__`` of the package."""
    first = path.relative_to(SOURCE).parts[0].removesuffix('.py')
    return None if first == '__init__' else first


def faults(layer: str | None, found: list[Import]) -> list[str]:
    """Return what a module of ``layer`` imports against the rules."""
    bad = [f'{one.module} at the top' for one in found if one.root in ENGINES and one.is_at_import_time]
    if layer is None:
        return [*bad, *(one.module for one in found if one.root not in sys.stdlib_module_names)]
    bad += [one.module for one in found if one.layer is not None and one.layer not in MAY_IMPORT[layer]]
    if layer in PURE:
        bad += [one.module for one in found if one.root in AIIDA | PLUGINS]
    if layer not in ('cli', 'report'):
        exceptions = WITHOUT_ENTRY_POINT.get(layer, set())
        bad += [one.module for one in found if one.root in PLUGINS and one.module not in exceptions]
    if layer == 'engines':
        for one in found:
            allowed = ENGINE_TOP if one.is_at_import_time else ENGINE_LAZY
            if one.root not in allowed | sys.stdlib_module_names | {PACKAGE}:
                bad.append(one.module)
    return bad


@pytest.mark.parametrize('path', FILES, ids=module_name)
def test_module_imports_only_what_its_layer_may(path: Path) -> None:
    found = list(imports(ast.parse(path.read_text()), module_name(path)))
    assert faults(layer_of(path), found) == []


@pytest.mark.parametrize('path', FILES, ids=module_name)
def test_no_profile_is_loaded(path: Path) -> None:
    tree = ast.parse(path.read_text())
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert 'load_profile' not in names


def test_one_room_for_quantum_espresso() -> None:
    """All others ask the labeller."""
    speaking = [
        path.relative_to(SOURCE).as_posix()
        for path in FILES
        if re.search(r'quantumespresso|PwBase|\bpw_', path.read_text())
    ]
    assert speaking
    assert [name for name in speaking if not name.startswith(QUANTUM_ESPRESSO)] == []


def test_every_module_has_a_layer() -> None:
    assert {layer_of(path) for path in FILES} - {None} <= set(MAY_IMPORT)


@pytest.mark.parametrize(
    ('layer', 'code', 'bad'),
    [
        ('frames', 'import aiida.orm', ['aiida.orm']),
        ('formats', 'def f():\n    from aiida import orm', ['aiida']),
        ('structures', 'import typing as t\nif t.TYPE_CHECKING:\n    from aiida import orm', ['aiida']),
        ('structures', 'from aiida_pace.data.dataset import AtomsDatasetData', ['aiida_pace.data.dataset']),
        ('metrics', 'from aiida_pace import data', ['aiida_pace.data']),
        ('formats', 'from aiida_pace.frames import Frames', []),
        ('data', 'from aiida import orm\nfrom aiida_pace.structures import fingerprint', []),
        ('data', 'from aiida_pace.calculations.train import X', ['aiida_pace.calculations.train']),
        ('calculations', 'from aiida_pace.parsers.train import X', ['aiida_pace.parsers.train']),
        ('workflows', 'from aiida_pace.parsers.train import X', ['aiida_pace.parsers.train']),
        ('workflows', 'from aiida_quantumespresso.workflows import X', ['aiida_quantumespresso.workflows']),
        ('workflows', 'from aiida_quantumespresso.workflows.protocols.utils import ProtocolMixin', []),
        (
            'calculations',
            'from aiida_quantumespresso.workflows.protocols.utils import ProtocolMixin',
            ['aiida_quantumespresso.workflows.protocols.utils'],
        ),
        ('workflows', 'from aiida_pace.cli import x', ['aiida_pace.cli']),
        ('report', 'import aiida_pseudo\nfrom aiida_pace.workflows.label.base import X', []),
        ('data', 'import pyace.basis', ['pyace.basis at the top']),
        ('data', 'try:\n    import lammps\nexcept ImportError:\n    pass', ['lammps at the top']),
        ('data', 'class A:\n    import lammps', ['lammps at the top']),
        ('data', 'def f():\n    import pyace', []),
        ('engines', 'import numpy as np\nfrom ase import Atoms\nimport json', []),
        ('engines', 'import pandas', ['pandas']),
        ('engines', 'def f():\n    import pandas', []),
        ('engines', 'def f():\n    import pydantic', ['pydantic']),
        (None, 'import numpy', ['numpy']),
    ],
)
def test_faults_are_found(layer: str | None, code: str, bad: list[str]) -> None:
    found = list(imports(ast.parse(code), f'{PACKAGE}.{layer}.module'))
    assert list(dict.fromkeys(faults(layer, found))) == bad


def test_relative_imports_are_resolved() -> None:
    found = imports(ast.parse('from ..data import dataset\nfrom . import other'), f'{PACKAGE}.formats.module')
    assert [one.module for one in found] == [f'{PACKAGE}.data', f'{PACKAGE}.formats']


IMPORT_ALONE = """
import importlib, importlib.util, json, sys
importlib.import_module(sys.argv[1])
heavy = ['aiida', 'lammps', 'pandas', 'pyace', 'pydantic', 'tensorflow', 'yaml']
print(json.dumps([importlib.util.find_spec('aiida') is not None, [name for name in heavy if name in sys.modules]]))
"""


@pytest.mark.engines
@pytest.mark.parametrize(
    'module', [module_name(path) for path in FILES if layer_of(path) == 'engines' and path.stem != '__init__']
)
def test_engine_is_imported_without_aiida(engine: Callable[[str], Path], module: str, tmp_path: Path) -> None:
    finished = subprocess.run(
        [engine('python'), '-c', IMPORT_ALONE, module], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert finished.returncode == 0, finished.stderr
    is_aiida_there, heavy = json.loads(finished.stdout)
    assert not is_aiida_there, 'this test proves nothing where AiiDA is installed'
    assert heavy == []
