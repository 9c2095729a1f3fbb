"""openapi.json: the whole API as OpenAPI 3.1, made from the code. `python -m node.api.openapi` writes it anew.

Paths and methods come from `routes.Route`, bodies from the structures that `node.protocol.api_body` decodes into, limits
from their defaults. What JSON Schema cannot say (a rule between two fields, bytes instead of characters) is said in words.
tests/unit/api/test_openapi.py holds that the file is current; tests/fuzz/test_api.py that a node keeps to it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from node.api.routes import Route
from node.protocol.api_body import DEFAULT_LIMITS, RESERVED_PREFIXES, SOCKET_ID, BatchBody, EventBody, UserEventBody
from node.protocol.api_signature import TIMESTAMP_TOLERANCE
from node.protocol.attributes import COUNTS, Attribute
from node.protocol.user_data import USER_ID_LIMIT

FILE = Path(__file__).with_name("openapi.json")

Json = dict[str, Any]

_DESCRIPTION = "Requests are signed with a secret of the app, as Pusher's SDKs do it. Every answer is a JSON object."


def _object(properties: Json, *, required: Sequence[str] | None = None, kind: str | list[str] = "object") -> Json:
    """An object of exactly these properties, all of them required unless it says which."""
    names = list(properties) if required is None else list(required)
    return {"type": kind, "properties": properties, "required": names, "additionalProperties": False}


def _query(name: str, schema: Json, **more: Any) -> Json:
    return {"name": name, "in": "query", "schema": schema, **more}


def _info(attributes: Sequence[Attribute]) -> Json:
    """Names with commas; what is not available for a channel is refused with 400."""
    name = "|".join(attribute.value for attribute in attributes)
    schema = {"type": "string", "pattern": f"^,*(?:(?:{name})(?:,+(?:{name}))*,*)?$"}
    return _query("info", schema, description="Attributes to tell, with commas between.")


def _path(name: str, schema: Json, text: str) -> Json:
    return {"name": name, "in": "path", "required": True, "description": text, "schema": schema}


def _key(name: str, text: str) -> Json:
    return {"type": "apiKey", "in": "query", "name": name, "description": text}


_PRINTABLE = r"[^\x00-\x1f\x7f-\x9f]"
_USER_ID = rf"^{_PRINTABLE}{{1,{USER_ID_LIMIT}}}$"
_LETTERS = "[-a-zA-Z0-9_=@,.;]"
_PLAIN_CHANNEL = rf"{_LETTERS}{{1,{DEFAULT_LIMITS.channel_name}}}"
_CHANNEL = rf"^(?:{_PLAIN_CHANNEL}|#server-to-user-{_PRINTABLE}{{1,{USER_ID_LIMIT}}})$"
_COUNT = {"type": "integer", "minimum": 0}
_NOTHING: Json = {"type": "object", "maxProperties": 0}
_COUNTS: Json = _object({attribute.value: _COUNT for attribute in COUNTS}, required=())

ERRORS = {
    400: "The request is not what it should be: the text says what is.",
    401: "Not signed, or not well; or the path names another app than `auth_key`.",
    403: "The app is disabled.",
    404: "No such path.",
    408: "The request took too long to arrive.",
    413: "`data` of an event, or the whole body, is longer than allowed.",
    414: "The path with its query is longer than allowed.",
    429: "The app is over its rate of requests or events.",
    500: "The server's mistake: its log says which.",
    503: "The cluster cannot be reached, and no event was published: send the request again.",
}
_RETRY = {429, 503}

_SECURITY = {
    "auth_key": _key("auth_key", "The app's key."),
    "auth_timestamp": _key("auth_timestamp", f"Unix time in seconds, within {TIMESTAMP_TOLERANCE} s of the server's."),
    "auth_version": _key("auth_version", "1.0"),
    "body_md5": _key("body_md5", "MD5 of the body in hex; may be left out where there is no body."),
    "auth_signature": _key(
        "auth_signature",
        "HMAC-SHA256 in hex, under a secret of the app, of the method, the path, and all other parameters as `key=value`, "
        "sorted and with `&` between; a line feed after the method and the path.",
    ),
}
_PATH = {
    "app": _path("app", {"type": "string", "minLength": 1}, "Id or key of the app."),
    "channel": _path("channel", {"type": "string", "pattern": f"^{_PLAIN_CHANNEL}$"}, "A channel, but no user's own one."),
    "user": _path("user", {"type": "string", "pattern": _USER_ID}, "Id of a user."),
}
_PRESENCE = _path(
    "channel",
    {"type": "string", "pattern": f"^presence-{_LETTERS}*$", "maxLength": DEFAULT_LIMITS.channel_name},
    "A presence channel.",
)

_FIELDS: Mapping[str, Json] = {
    "name": {
        "minLength": 1,
        "maxLength": DEFAULT_LIMITS.name,
        "not": {"pattern": f"^(?:{'|'.join(RESERVED_PREFIXES)})"},
        "description": "Name of the event.",
    },
    "data": {"description": f"A string of up to {DEFAULT_LIMITS.data} bytes; anything else is sent on as its JSON text."},
    "channel": {"pattern": _CHANNEL, "description": "One channel."},
    "channels": {
        "minItems": 1,
        "maxItems": DEFAULT_LIMITS.channels,
        "items": {"type": "string", "pattern": _CHANNEL},
        "anyOf": [{"maxItems": 1}, {"items": {"not": {"pattern": "^private-encrypted-"}}}],
        "description": "Several channels, which win over `channel`; an encrypted one must be alone.",
    },
    "socket_id": {"pattern": f"^{SOCKET_ID}$", "description": "The one connection that shall not receive the event."},
    "info": {
        "description": "Attributes for the answer, with commas between; those that a channel does not have are left out."
    },
    "batch": {"maxItems": DEFAULT_LIMITS.batch},
}
"""What the types of the bodies' fields leave open, by the fields' names."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What a route is for, what it answers, and what it takes."""

    summary: str
    answer: Json
    body: type[msgspec.Struct] | None = None
    query: tuple[Json, ...] = ()


OPERATIONS = {
    Route.EVENTS: Operation(
        "Publish an event to channels, and to users by their own channels",
        _object({"channels": {"type": "object", "additionalProperties": _COUNTS}}, required=()),
        EventBody,
    ),
    Route.BATCH_EVENTS: Operation(
        "Publish several events, all or none",
        _object({"batch": {"type": "array", "items": _COUNTS}}, required=()),
        BatchBody,
    ),
    Route.USER_EVENTS: Operation("Publish an event to a user", _NOTHING, UserEventBody),
    Route.CHANNELS: Operation(
        "List the occupied channels",
        _object({"channels": {"type": "object", "additionalProperties": _COUNTS}}),
        query=(_query("filter_by_prefix", {"type": "string"}), _info(COUNTS)),
    ),
    Route.CHANNEL: Operation(
        "Describe a channel",
        _object(
            {
                "occupied": {"type": "boolean"},
                **_COUNTS["properties"],
                "cache": _object(
                    {"event": {"type": "string"}, "data": {"type": "string"}, "ttl": {"type": "integer", "minimum": 1}},
                    kind=["object", "null"],
                ),
            },
            required=["occupied"],
        ),
        query=(_info(tuple(Attribute)),),
    ),
    Route.MEMBERS: Operation(
        "List the members of a presence channel",
        _object({"users": {"type": "array", "items": _object({"id": {"type": "string", "minLength": 1}})}}),
    ),
    Route.TERMINATE: Operation("Close all connections of a user", _NOTHING),
    Route.TERMINATE_BY_KEY: Operation("The same, in the app of `auth_key`", _NOTHING),
    Route.USER: Operation(
        "Tell whether a user is online",
        _object({"online": {"type": "boolean"}, "connections": _COUNT}),
    ),
}


def make_document() -> Json:
    """The whole document."""
    bodies = [operation.body for operation in OPERATIONS.values() if operation.body is not None]
    _, schemas = msgspec.json.schema_components(bodies, ref_template="#/components/schemas/{name}")
    for schema in schemas.values():
        for name, field in schema["properties"].items():
            _complete(field, _FIELDS[name])
    _choose_channels(schemas["EventBody"])
    schemas["Error"] = _object({"error": {"type": "string", "minLength": 1}})
    return {
        "openapi": "3.1.0",
        "info": {"title": "Usher's HTTP API", "version": version("usher-realtime"), "description": _DESCRIPTION},
        "paths": {route.template: {route.method.lower(): _describe(route)} for route in Route},
        "components": {"schemas": schemas, "responses": _errors(), "securitySchemes": _SECURITY},
        "security": [{name: [] for name in _SECURITY}],
    }


def _complete(field: Json, more: Json) -> None:
    """Add to a field's schema; where it may be null, to the other alternative."""
    alternatives = field.pop("anyOf", [field])
    target = next(each for each in alternatives if each != {"type": "null"})
    target.update({key: value for key, value in more.items() if key != "description"})
    if target is not field:
        field["anyOf"] = alternatives
    field.update({key: value for key, value in more.items() if key == "description"})


def _choose_channels(schema: Json) -> None:
    """`channels`, or without them `channel`: only what counts has to be valid."""
    one = schema["properties"]["channel"]["anyOf"][0]
    pattern = one.pop("pattern")
    schema["anyOf"] = [
        {"required": ["channels"], "properties": {"channels": {"type": "array"}}},
        {
            "required": ["channel"],
            "properties": {"channel": {"type": "string", "pattern": pattern}, "channels": {"type": "null"}},
        },
    ]


def _describe(route: Route) -> Json:
    operation = OPERATIONS[route]
    errors = {str(status): {"$ref": f"#/components/responses/{status}"} for status in ERRORS}
    described: Json = {
        "operationId": route.name.lower(),
        "summary": operation.summary,
        "parameters": [*_path_of(route), *operation.query],
        "responses": {"200": _response("Done.", operation.answer)} | errors,
    }
    if operation.body is not None:
        body = {"$ref": f"#/components/schemas/{operation.body.__name__}"}
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return described


def _path_of(route: Route) -> list[Json]:
    parameters = _PATH | {"channel": _PRESENCE} if route is Route.MEMBERS else _PATH
    return [parameter for name, parameter in parameters.items() if f"{{{name}}}" in route.template]


def _errors() -> Json:
    """Every error by its status, as `responses` of the components."""
    errors = {str(status): _response(text, {"$ref": "#/components/schemas/Error"}) for status, text in ERRORS.items()}
    for status in _RETRY:
        seconds = {"description": "Seconds to wait.", "required": True, "schema": {"type": "integer", "minimum": 1}}
        errors[str(status)]["headers"] = {"Retry-After": seconds}
    return errors


def _response(text: str, schema: Json) -> Json:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


if __name__ == "__main__":
    FILE.write_text(json.dumps(make_document(), indent=1, ensure_ascii=False) + "\n")
