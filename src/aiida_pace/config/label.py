"""Settings of a calculator that labels frames."""

from __future__ import annotations

from pydantic import Field, JsonValue

from aiida_pace.config.base import Config

__all__ = ('CalculatorConfig',)


class CalculatorConfig(Config):
    """A calculator of ASE, made where the frames are labelled."""

    calculator: str = Field(
        pattern=r'^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$',
        description='Class or function that makes the calculator, as `package.module:Name`, such as '
        '`ase.calculators.emt:EMT`, `tblite.ase:TBLite` or `mace.calculators:mace_mp`. The calculator must use the '
        'units of ASE: eV, eV/Å, eV/Å³.',
    )
    kwargs: dict[str, JsonValue] = Field(
        default={}, description='Keyword arguments of that class or function, such as `{"method": "GFN1-xTB"}`.'
    )
