"""Base of all settings."""

from __future__ import annotations

import re
import typing as t

from pydantic import BaseModel, ConfigDict, Field, ValidationError

__all__ = ('CLOSEST', 'Config', 'Share', 'config_error')

#: Default of the one setting `closest` of a campaign: share of the sum of two covalent radii that no distance is below.
CLOSEST = 0.7

#: How much of one kind there is among others, in any unit.
Share = t.Annotated[float, Field(ge=0, le=1e6)]

#: What pydantic puts between a setting and its key where several types are allowed.
UNION_TAG = re.compile(r'constrained-\w+|(dict|literal)\[.*\]')


class Config(BaseModel):
    """Base of all settings: unknown keys are refused, values never change after validation.

    Numbers are finite and of their own type: neither texts nor truth values are taken for numbers, and numbers with
    decimals are not taken for integers.
    """

    model_config = ConfigDict(extra='forbid', frozen=True, strict=True, allow_inf_nan=False)

    #: Settings of earlier releases, and what takes their place: the end of a sentence.
    RENAMED: t.ClassVar[dict[str, str]] = {}


def config_error(model: type[Config], settings: dict[str, t.Any]) -> str | None:
    """Return one sentence that names the first wrong setting and the remedy, or None when all are right."""
    try:
        model.model_validate(settings)
    except ValidationError as exception:
        errors = exception.errors()
        # Where several types are allowed there is an error for each: the one that goes furthest means the type given.
        alternatives = [error for error in errors if error['loc'][:1] == errors[0]['loc'][:1]]
        error = max(alternatives, key=lambda found: len(found['loc']))
        where = '.'.join(str(part) for part in error['loc'] if not UNION_TAG.fullmatch(str(part)))
        if error['type'] == 'extra_forbidden':
            if where in model.RENAMED:
                return f'setting `{where}` is now {model.RENAMED[where]}'
            known = ', '.join(model.model_fields)
            return f'unknown setting `{where}`; {model.__name__} knows: {known}'
        message = error['msg'].removeprefix('Value error, ')
        return f'setting `{where}`: {message}' if where else message
    return None
