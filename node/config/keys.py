"""Keys of the configuration: what each expects, and how a value that came becomes one that is typed.

A `Table` is the only statement of its keys: names, types, ranges, defaults, and the sentence that describes
each (`Annotated[int, about("...", ge=0)]`). From it come the checks, the wording of errors and the reference
tables in README.md, so they cannot disagree. Rules for whoever edits this file:

- An error names the source, the key, what was expected and what came; of a secret key it never shows what
  came.
- All problems are reported at once: nobody should mend ten typing errors in ten attempts.
- Nothing here reads the environment or the flags: values and the name of their source come in as arguments.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Meta

_SHOWN: Final = 60
"""Characters of a refused value: enough to recognise it, too few to fill a log."""

_LISTED: Final = 20
"""Known keys that an error may list."""

_T = TypeVar("_T", bound=msgspec.Struct)


class ConfigError(Exception):
    """The configuration is wrong; `problems` holds one readable line for each mistake, without any secret."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def about(description: str, *, secret: bool = False, expected: str = "", **constraints: Any) -> Meta:
    """Describe a key in one sentence; `constraints` are msgspec's, `expected` words them where we cannot."""
    return Meta(description=description, extra={"secret": secret, "expected": expected}, **constraints)


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of keys. Its repr shows everything but secrets, also in tools that print structures nicely."""

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        shown: list[tuple[str, Any]] = []
        for field in _fields(type(self)):
            value = getattr(self, field.name)
            hidden = value and not isinstance(value, Table) and _key(field, "").secret
            shown.append((field.name, _Hidden() if hidden else value))
        return shown

    def __repr__(self) -> str:
        """Show the keys and values as they are written in Python, without secrets."""
        items = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return hide_password(f"{type(self).__name__}({items})")


class _Hidden:
    """Stands where a secret would have stood."""

    def __repr__(self) -> str:
        return "<not shown>"


@dataclass(frozen=True, slots=True)
class Key:
    """One key that can be set. `name` is dotted; `default` is `NODEFAULT` where a value is required."""

    name: str
    type: Any  # without Annotated
    annotated: Any
    meta: Meta
    default: object

    @property
    def description(self) -> str:
        """The sentence that the reference table shows."""
        return self.meta.description or ""

    @property
    def secret(self) -> bool:
        """Whether its value must never be shown."""
        return bool((self.meta.extra or {}).get("secret"))

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is NODEFAULT

    @property
    def is_list(self) -> bool:
        """Whether it takes several values: in an environment variable or a flag, with commas between."""
        return get_origin(self.type) is tuple

    @property
    def expected(self) -> str:
        """What the key accepts, in words: for errors and for the reference table."""
        if worded := (self.meta.extra or {}).get("expected"):
            return str(worded)
        if get_origin(self.type) is Literal:
            return "one of " + ", ".join(map(str, get_args(self.type)))
        if self.is_list:
            return "a list of one or more texts" if self.meta.min_length else "a list of texts"
        words = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}
        kind = next((item for item in get_args(self.type) if item is not type(None)), self.type)
        return words[kind] + _range(self.meta)

    def decode(self, value: object, source: str, *, strict: bool = True) -> object:
        """Give `value` its type; `strict=False` takes numbers and booleans as text too."""
        try:
            return msgspec.convert(value, self.annotated, strict=strict)
        except (msgspec.ValidationError, UnicodeEncodeError):
            raise ConfigError(self.problem(value, source)) from None

    def decode_text(self, text: str, source: str) -> object:
        """Give a text from the environment or a flag its type; lists have commas between their members."""
        if _printable(text) != text:  # the environment may hold bytes that are no text
            raise ConfigError(self.problem(text, source))
        if not self.is_list:
            return self.decode(text, source, strict=False)
        return self.decode([item.strip() for item in text.split(",")], source)

    def problem(self, value: object, source: str) -> str:
        """Say in one line that `value` is not what this key expects."""
        return f"{source}: {self.name}: expected {self.expected}, got {_cut(self.shown(value))}"

    def shown(self, value: object) -> str:
        """Write a value for people, without secrets."""
        return _shown(value, secret=self.secret)


def keys_of(table: type[msgspec.Struct], prefix: str = "") -> Iterator[Key]:
    """Yield every key of a table and of the tables in it, in the order they are written."""
    for field in _fields(table):
        if is_table(field.type):
            yield from keys_of(field.type, f"{prefix}{field.name}.")
        else:
            yield _key(field, prefix)


def decode_table(value: Mapping[str, object], table: type[msgspec.Struct], source: str, prefix: str = "") -> dict[str, Any]:
    """Check and type the keys that `value` sets and leave out the others; tables stay dicts.

    Raises ConfigError with every problem found: unknown keys (and which may have been meant), types, ranges.
    """
    fields = {field.name: field for field in _fields(table)}
    problems = [unknown_key(f"{prefix}{name}", source, fields) for name in value if name not in fields]
    decoded: dict[str, Any] = {}
    for name in filter(fields.__contains__, value):
        try:
            decoded[name] = _decode_field(value[name], fields[name], source, prefix)
        except ConfigError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigError(*problems)
    return decoded


def build_table(value: Mapping[str, Any], table: type[_T], source: str) -> _T:
    """Make the table from what `decode_table` gave; raises ConfigError naming required keys left out."""
    missing = [key for key in keys_of(table) if key.required and key.name not in value]
    if missing:
        raise ConfigError(*(f"{source}: {key.name}: expected {key.expected}, got nothing" for key in missing))
    tables = {
        field.name: build_table(value[field.name], field.type, source)
        for field in _fields(table)
        if is_table(field.type) and field.name in value
    }
    return table(**{**value, **tables})


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a TOML file; raises ConfigError that names the file, and the line if it is not TOML."""
    try:
        return tomllib.loads(Path(path).read_bytes().decode())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not a TOML file: {error}") from None


def unknown_key(name: str, source: str, known: Mapping[str, object]) -> str:
    """Say that there is no such key, and which one may have been meant."""
    near = difflib.get_close_matches(name.rpartition(".")[2], known, n=1)
    listed = f"known keys: {', '.join(known)}" if len(known) <= _LISTED else "README.md lists them"
    hint = f"did you mean {near[0]}?" if near else listed
    return f"{source}: {_printable(name)}: there is no such key; {hint}"


def is_table(kind: object) -> bool:
    """Whether a field of this type is a table of further keys."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def hide_password(text: str) -> str:
    """Blank the user and password that a URL may carry."""
    return re.sub(r"//[^/@\s\"']*@", "//***@", text)


@functools.cache
def _fields(table: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """The fields of a table; msgspec evaluates its annotations anew each time, in a millisecond."""
    return msgspec.structs.fields(table)


def _decode_field(value: object, field: msgspec.structs.FieldInfo, source: str, prefix: str) -> object:
    if not is_table(field.type):
        return _key(field, prefix).decode(value, source)
    name = f"{prefix}{field.name}"
    if not isinstance(value, Mapping):
        raise ConfigError(f"{source}: {name}: expected a table, got {_shown(value, secret=True)}")
    return decode_table(value, field.type, source, f"{name}.")


def _key(field: msgspec.structs.FieldInfo, prefix: str) -> Key:
    kind, meta = field.type, Meta()
    if get_origin(kind) is Annotated:
        meta = kind.__metadata__[-1]
        kind = kind.__origin__
    default = field.default if field.default_factory is NODEFAULT else field.default_factory()
    return Key(f"{prefix}{field.name}", kind, field.type, meta, default)


def _range(meta: Meta) -> str:
    """Word the constraints of a number, or of a text's length."""
    if meta.ge is not None:
        return f" from {meta.ge} to {meta.le}" if meta.le is not None else f" of {meta.ge} or more"
    if meta.gt is not None:
        return f" over {meta.gt}, up to {meta.le}" if meta.le is not None else f" over {meta.gt}"
    return " that is not empty" if meta.min_length else ""


def _shown(value: object, *, secret: bool) -> str:
    if secret:
        return "a value that is not shown"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return hide_password(_printable(text))


def _printable(text: str) -> str:
    """A text that any output takes: what is no Unicode becomes question marks."""
    return text.encode(errors="replace").decode()


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
