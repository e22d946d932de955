"""The JSON Schema of the configuration, for editors: what the model says, with the settings of every check."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from checks.core.check import Check
from checks.core.target import Inbox
from monitor.config import model
from monitor.config.credentials import KINDS
from monitor.config.wording import duration

Schema = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_OFF = {"const": False, "description": "Switched off."}


class _Generator(GenerateJsonSchema):
    """As pydantic's, in the words of the file: an inbox is its name, and what is left out is not null."""

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        """Of the objects that settings hold, the file has only names."""
        if schema["cls"] is Inbox:
            return {"type": "string", "pattern": f"^{model.ID.pattern}$", "description": "A name from `inboxes`."}
        return super().dataclass_schema(schema)

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Whatever it is if it is there."""
        return self.generate_inner(schema["schema"])


def schema_of(checks: Mapping[str, Check]) -> Schema:
    """The schema of a file whose checks these are."""
    schema = _plain(model.File)
    defs: Schema = schema.pop("$defs")
    defs |= {_name(check): _check(check) for check in checks.values()}
    of_mailboxes = {name: check for name, check in checks.items() if check.target == "mailbox"}
    for part, known, switches in (
        ("Defaults", checks, False),
        ("Usual", of_mailboxes, False),
        ("Group", of_mailboxes, True),
        ("Mailbox", of_mailboxes, True),
    ):
        said = defs[part]["properties"]["checks"]
        references = {name: {"$ref": f"#/$defs/{_name(check)}"} for name, check in known.items()}
        said["properties"] = {name: {"anyOf": [to, _OFF]} if switches else to for name, to in references.items()}
        said["additionalProperties"] = False
    # What stands in the builder's code, in a schema's words.
    defs["Credential"]["oneOf"] = [{"required": [kind]} for kind in KINDS]
    defs["Inbox"]["not"] = {"required": ["app", "password"]}
    return {"$schema": _DIALECT, "title": "mailcanary", **schema, "$defs": dict(sorted(defs.items()))}


def _name(check: Check) -> str:
    return f"check:{check.name}"


def _check(check: Check) -> Schema:
    """What may be said of a check: its times, with what they are if nobody says else, and its own settings."""
    times, own = _plain(model.CheckTimes), _plain(check.settings)
    times["properties"]["interval"]["default"] = duration(check.interval)
    times["properties"]["timeout"]["default"] = duration(check.timeout)
    inlined = _inlined(own["properties"], own.get("$defs", {}))
    return {
        "type": "object",
        "description": f"{_joined(inspect.getdoc(inspect.getmodule(check.run)) or '')}\n\n{own['description']}",
        "properties": {**times["properties"], **inlined},
        "additionalProperties": False,
    }


def _inlined(schema: Any, defs: Mapping[str, Any]) -> Any:
    """Without references: the names of definitions are those of classes, which the file has others of."""
    if isinstance(schema, list):
        return [_inlined(one, defs) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {**_inlined(defs[schema["$ref"].rpartition("/")[2]], defs), **_without(schema, "$ref")}
    return {key: _inlined(value, defs) for key, value in schema.items()}


def _plain(part: type[BaseModel]) -> Schema:
    schema: Schema = _tidied(part.model_json_schema(schema_generator=_Generator))
    return schema


def _tidied(schema: Any) -> Any:
    """Without what is of Python and not of the file."""
    if isinstance(schema, list):
        return [_tidied(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {key: _tidied(value) for key, value in schema.items() if not (key == "title" and isinstance(value, str))}
    if isinstance(said := tidy.get("description"), str):
        tidy["description"] = _joined(said)
    if tidy.get("examples") == [{}]:  # it stands in for a wrong part, and shows nothing
        del tidy["examples"]
    if tidy.get("pattern") == model.DURATION_PATTERN and isinstance(tidy.get("default"), float):
        tidy["default"] = duration(tidy["default"])
    elif "default" in tidy and (tidy["default"] in (None, "") or isinstance(tidy["default"], dict)):
        del tidy["default"]  # nothing, or what the parts below say themselves
    if isinstance(named := tidy.get("patternProperties"), dict):  # which would let other names pass unseen
        [(pattern, behind)] = named.items()
        tidy = {**_without(tidy, "patternProperties"), "propertyNames": {"pattern": pattern}}
        tidy["additionalProperties"] = behind
    return tidy


def _without(schema: Schema, key: str) -> Schema:
    return {other: value for other, value in schema.items() if other != key}


def _joined(text: str) -> str:
    """Paragraphs whose lines a reader may break anew."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
