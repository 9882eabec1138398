"""Files that are written from the code, and checked against it in CI."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import AliasChoices
from pydantic_core import PydanticUndefined

from settings import Settings

ROOT = Path(__file__).parent.parent
Check = Annotated[bool, typer.Option("--check", help="Write nothing; fail if it is stale.")]
COMPOSE_VARIABLES = {
    "WEB_PORT": ("8000", "Port on the host at which docker compose publishes the API."),
    "PGADMIN_EMAIL": ("admin@example.com", "Sign-in of the pgAdmin page (profile `tools`)."),
    "PGADMIN_PASSWORD": ("pgadmin", "Its password."),
    "PGADMIN_PORT": ("5050", "Its port on the host."),
}

EXAMPLES = {"debug": "true", "secret_key": "change-me-to-a-long-random-text"}


def _write(path: Path, text: str, check: bool) -> None:
    current = path.read_text() if path.exists() else ""
    if current == text:
        return
    if check:
        raise SystemExit(f"{path.relative_to(ROOT)} is stale: run `make format`.")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    typer.echo(f"{path.relative_to(ROOT)} written.")


def export_schema(check: Check = False) -> None:
    """Write the schema document, schema/schema.graphql."""
    from schema.root import schema  # noqa: PLC0415 - heavy, and only this command needs it

    _write(ROOT / "schema" / "schema.graphql", schema.as_str() + "\n", check)


def export_settings(check: Check = False) -> None:
    """Write .env.example and docs/settings.md from the settings' descriptions."""
    _write(ROOT / ".env.example", env_example(), check)
    _write(ROOT / "docs" / "settings.md", settings_table(), check)


def environment_names(name: str) -> tuple[str, ...]:
    """The variables that set this field, preferred one first."""
    alias = Settings.model_fields[name].validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(str(choice) for choice in alias.choices)
    return (name.upper(),)


def _default(name: str) -> str:
    value = Settings.model_fields[name].default
    if value is None or value is PydanticUndefined:
        return ""
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def env_example() -> str:
    """A working configuration for development: every variable, the derived ones commented out."""
    lines = ["# Copy to .env. Every variable that the server reads; real ones win over this file."]
    for name, field in Settings.model_fields.items():
        variable, *others = environment_names(name)
        also = f" Also read as {', '.join(others)}." if others else ""
        value = EXAMPLES.get(name, _default(name))
        lines += ["", f"# {field.description}{also}"]
        lines.append(f"{variable}={value}" if name in EXAMPLES else f"# {variable}={value}")
        lines += [f"# {other}=" for other in others]
    lines += ["", "# --- docker compose only"]
    for variable, (value, text) in COMPOSE_VARIABLES.items():
        lines += ["", f"# {text}", f"# {variable}={value}"]
    return "\n".join(lines) + "\n"


def settings_table() -> str:
    lines = ["# Settings", "", "| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        names = ", ".join(f"`{variable}`" for variable in environment_names(name))
        default = f"`{_default(name)}`" if _default(name) else ""
        lines.append(f"| {names} | {default} | {field.description} |")
    for variable, (value, text) in COMPOSE_VARIABLES.items():
        lines.append(f"| `{variable}` | `{value}` | {text} (docker compose only) |")
    return "\n".join(lines) + "\n"


COMMANDS = {"export-schema": export_schema, "export-settings": export_settings}
