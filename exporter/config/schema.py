"""JSON Schema (2020-12) of our configuration structs, for editors.

msgspec's own generator cannot say the defaults of types that are written as text (10s), so the
same type tree is walked here.
"""

from typing import Any

from msgspec import NODEFAULT, Struct, inspect

from exporter.config.agent import AgentConfig
from exporter.config.scalars import Duration, is_text_type

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def agent_schema() -> dict[str, Any]:
    """What `kernmesh schema agent` prints."""
    return schema_of(AgentConfig)


def schema_of(type_: type[Struct]) -> dict[str, Any]:
    """The schema of a struct that load_yaml reads, with everything in place (no $ref)."""
    return {"$schema": _DRAFT, "title": type_.__name__, **_schema(inspect.type_info(type_))}


def _schema(info: inspect.Type) -> dict[str, Any]:
    match info:
        case inspect.Metadata(type=inner, extra_json_schema=extra):
            return _schema(inner) | (extra or {})
        case inspect.StructType():
            return _struct(info)
        case inspect.CustomType(cls=cls) if is_text_type(cls):
            return dict(cls.json_schema)
        case inspect.UnionType(types=types):
            return {"anyOf": [_schema(t) for t in types]}
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            bounds = {"minItems": info.min_length} if info.min_length else {}
            return {"type": "array", "items": _schema(item), **bounds}
        case inspect.DictType(value_type=value):
            return {"type": "object", "additionalProperties": _schema(value)}
        case inspect.LiteralType(values=values):
            return {"enum": list(values)}
        case inspect.StrType():
            return _given(type="string", minLength=info.min_length, pattern=info.pattern)
        case inspect.IntType() | inspect.FloatType():
            kind = "integer" if isinstance(info, inspect.IntType) else "number"
            return _given(
                type=kind,
                minimum=info.ge,
                exclusiveMinimum=info.gt,
                maximum=info.le,
                exclusiveMaximum=info.lt,
            )
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.NoneType():
            return {"type": "null"}
    raise TypeError(f"no such type in configuration: {info}")


def _given(**keywords: str | float | None) -> dict[str, Any]:
    return {key: value for key, value in keywords.items() if value is not None}


def _struct(info: inspect.StructType) -> dict[str, Any]:
    properties = {}
    for field in info.fields:
        properties[field.encode_name] = _schema(field.type)
        default = default_of(field)
        if default is not NODEFAULT:
            properties[field.encode_name]["default"] = _plain(default)
    schema: dict[str, Any] = {
        "type": "object",
        "description": " ".join((info.cls.__doc__ or "").split()),
        "properties": properties,
        "additionalProperties": False,
    }
    required = [field.encode_name for field in info.fields if field.required]
    if required:
        schema["required"] = required
    return {key: value for key, value in schema.items() if value != ""}


def default_of(field: inspect.Field) -> Any:
    """NODEFAULT for a field that has to be given."""
    if field.default_factory is not NODEFAULT:
        return field.default_factory()
    return field.default


def _plain(value: Any) -> Any:
    """As a user would write it."""
    if isinstance(value, Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Duration):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
