"""Schemas of what a chart passes on to the node: the settings and the apps, as JSON Schema, from the code's own tables.

Rules for whoever edits this file: what the chart decides itself (addresses, paths, credentials) is left out, so that
nobody sets it twice; patterns are those of the code, in the dialect that Helm's engine reads.
"""

from typing import Any, Final, Literal, get_args, get_origin

import msgspec

from node.config.apps import App
from node.config.keys import Key, is_table, keys_of
from node.config.settings import Settings

OWN: Final = (
    *("host", "port", "ops_host", "ops_port", "name", "apps", "tls."),
    *("nats.servers", "nats.user", "nats.password", "nats.token", "nats.credentials", "nats.nkey", "nats.tls."),
)
"""Keys that the chart decides; those with a dot at the end are whole tables."""

OTHER_DEFAULTS: Final = {"drain.delay": 5.0, "drain.spread": 60.0}
"""Where a chart, which computes the grace period, can afford more than a node that knows nothing of it."""

_TYPES: Final = {str: "string", int: "integer", float: "number", bool: "boolean"}
_LIMITS: Final = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "min_length": "minLength",
    "max_length": "maxLength",
}
_LENGTHS: Final = {
    "array": {"min_length": "minItems", "max_length": "maxItems"},
    "object": {"min_length": "minProperties", "max_length": "maxProperties"},
}

Schema = dict[str, Any]


def config_schema() -> Schema:
    """The settings that users of the chart may set: tables within an object, strict at every level."""
    root = _object()
    for key in keys_of(Settings):
        if not key.name.startswith(OWN):
            *tables, name = key.name.split(".")
            place = root["properties"]
            for table in tables:
                place = place.setdefault(table, _object())["properties"]
            place[name] = _described(key)
    return root


def app_schema() -> Schema:
    """One table of `[[apps]]`; its secrets are `secret` or `secrets`, as in the file."""
    app = _of_table(App)
    properties = app["properties"]
    secret = properties["secrets"]["items"] | {"description": "Short for a list of one."}
    return app | {
        "required": ["id", "key"],
        "oneOf": [{"required": ["secret"]}, {"required": ["secrets"]}],
        "properties": properties | {"secret": secret},
    }


def _object() -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def _of_table(table: type[msgspec.Struct]) -> Schema:
    keys = list(keys_of(table))
    required = [key.name for key in keys if key.required]
    return _object() | {"required": required, "properties": {key.name: _described(key) for key in keys}}


def _described(key: Key) -> Schema:
    schema = _of(key.annotated) | {"description": key.description}
    default = OTHER_DEFAULTS.get(key.name, key.default)
    return schema if key.required else schema | {"default": msgspec.to_builtins(default)}


def _of(kind: Any) -> Schema:
    """The schema of a type, with the constraints that its annotations state."""
    match get_origin(kind):
        case None:
            return _of_table(kind) if is_table(kind) else {"type": _TYPES[kind]}
        case origin if origin is Literal:
            return {"type": "string", "enum": list(get_args(kind))}
        case origin if origin is tuple:
            return {"type": "array", "items": _of(get_args(kind)[0])}
        case origin if origin is dict:
            return {"type": "object", "additionalProperties": _of(get_args(kind)[1])}
        case _:
            return _constrained(_of(kind.__origin__), kind.__metadata__)


def _constrained(schema: Schema, metadata: tuple[msgspec.Meta, ...]) -> Schema:
    for meta in metadata:
        names = _LIMITS | _LENGTHS.get(schema["type"], {})
        schema |= {name: getattr(meta, ours) for ours, name in names.items() if getattr(meta, ours) is not None}
        if meta.pattern:
            schema["pattern"] = meta.pattern.replace(r"\Z", "$")
    return schema
