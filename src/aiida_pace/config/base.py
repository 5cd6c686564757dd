"""Base of all settings."""

from __future__ import annotations

import typing as t

from pydantic import BaseModel, ConfigDict, ValidationError

__all__ = (
    'Config',
    'config_error',
)


class Config(BaseModel):
    """Base of all settings: unknown keys are refused, values never change after validation."""

    model_config = ConfigDict(extra='forbid', frozen=True)


def config_error(model: type[Config], settings: dict[str, t.Any]) -> str | None:
    """Return one sentence that names the first wrong setting and the remedy, or None when all are right."""
    try:
        model.model_validate(settings)
    except ValidationError as exception:
        error = exception.errors()[0]
        where = '.'.join(str(part) for part in error['loc'])
        if error['type'] == 'extra_forbidden':
            known = ', '.join(model.model_fields)
            return f'unknown setting `{where}`; {model.__name__} knows: {known}'
        message = error['msg'].removeprefix('Value error, ')
        return f'setting `{where}`: {message}' if where else message
    return None
