"""Answers to strain, on models that can be solved by hand."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.units import GPa

from aiida_pace.metrics.properties import PropertyError
from aiida_pace.metrics.responses import fit_force_response, independent_constants, internal_relaxation
from aiida_pace.structures.crystal import SpaceGroup, standard_primitive


def test_internal_relaxation_of_springs() -> None:
    """Two atoms with a spring k between them: a force f by strain costs f² / k of the constant, times the volume."""
    stiffness, force = 4.0, 1.5
    hessian = stiffness * np.kron([[1, -1], [-1, 1]], np.eye(3))
    response = np.zeros((6, 6))
    response[0, 3], response[3, 3] = force, -force
    expected = np.zeros((6, 6))
    expected[3, 3] = force**2 / stiffness / 40.0 / GPa
    np.testing.assert_allclose(internal_relaxation(response, hessian, 40.0), expected, atol=1e-12)
    with pytest.raises(PropertyError, match='not stable'):
        internal_relaxation(response, -hessian, 40.0)


def test_force_response_fills_in_by_symmetry() -> None:
    """Diamond: one shear tells all three; the forces on the two atoms are opposite (Kleinman's parameter)."""
    group = SpaceGroup.of(standard_primitive(bulk('Si'), 1e-3), 1e-3)
    strains = np.zeros((3, 6))
    strains[0, 0], strains[1, 0], strains[2, 3] = 0.01, -0.01, 0.01
    forces = np.zeros((3, 2, 3))
    forces[2, :, 0] = 0.02, -0.02
    response = fit_force_response(strains, forces, group)
    expected = np.zeros((2, 3, 6))
    expected[0, range(3), range(3, 6)] = 2.0
    expected[1] = -expected[0]
    np.testing.assert_allclose(response.reshape(2, 3, 6), expected, atol=1e-12)
    with pytest.raises(PropertyError, match='do not determine'):
        fit_force_response(strains[:2], forces[:2], group)


def test_independent_constants_without_symmetry() -> None:
    assert len(independent_constants(np.array([np.eye(3), -np.eye(3)]))) == 21
