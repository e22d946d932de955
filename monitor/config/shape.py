"""What the model says of a place in the file. Names that the user chooses are stepped over as such."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from monitor.config.places import Path


def field_at(model: type[BaseModel], where: Path) -> FieldInfo | None:
    """The field that a path names; None where the user chose the name, and where there is no such field."""
    part = model_at(model, where[:-1])
    return part.model_fields.get(str(where[-1])) if part else None


def model_at(model: type[BaseModel], where: Path) -> type[BaseModel] | None:
    """The part that stands at a path, or that stands behind each name there."""
    here: Any = model
    for step in where:
        here = _inside(here, str(step))
    while get_origin(here) in {dict, list}:
        here = _plain(get_args(here)[-1])
    return here if _is_model(here) else None


def _inside(annotation: Any, step: str) -> Any:
    if _is_model(annotation):
        field = annotation.model_fields.get(step)
        return _plain(field.annotation) if field else None
    return _plain(get_args(annotation)[-1]) if get_origin(annotation) in {dict, list} else None


def _plain(annotation: Any) -> Any:
    """Without what only says that it may be missing, or narrows it."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return _plain(get_args(annotation)[0])
    return annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
