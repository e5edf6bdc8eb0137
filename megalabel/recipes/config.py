"""Values of options as a TOML file, which `megalabel train RECIPE --config FILE` reads."""

from __future__ import annotations

from typing import Any

from megalabel.training.options import Options


def as_config(options: Options) -> str:
    """All values as TOML that `read_config` reads; options without a value are comments."""
    lines = []
    for name, value in options.values().items():
        if value is None:
            lines.append(f"# {name} is not set: {options.declared[name].shown(None)}")
        else:
            lines.append(f"{name} = {_toml(value)}")
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, str):
        escaped = "".join(
            f"\\u{ord(c):04x}" if ord(c) < 32 or ord(c) == 127 else {'"': '\\"', "\\": "\\\\"}.get(c, c)
            for c in value
        )
        return f'"{escaped}"'
    return repr(value)
