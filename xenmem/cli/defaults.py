"""What the command line leaves open: the inventory of XENMEM_INVENTORY, and the settings of the configuration file.

The file is TOML: `inventory`, and the options of all commands, above; those of one command in a table of its name. What
is on the command line outweighs both. Knows no command.
"""

import os
from contextlib import suppress
from typing import Any, Final

import click

from xenmem.cli.access import AccessOption

GIVEN: Final = "xenmem.given"
"""In the context's meta: the arguments of the running command, the default inventory among them."""


def config_path() -> str:
    """Where the configuration file is, if there is one."""
    folder = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111 - start-up time
    return os.environ.get("XENMEM_CONFIG") or f"{folder}/xenmem/config.toml"


def config() -> dict[str, Any]:
    """The settings of the file; none without one.

    Raises
    ------
    click.ClickException : the file is no TOML, or cannot be read
    """
    path = config_path()
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            content = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    import tomllib

    try:
        return tomllib.loads(content.decode())
    except ValueError as error:
        raise click.ClickException(f"{path}: {error}") from None


def default_inventories(settings: dict[str, Any]) -> list[str]:
    """The inventories that are asked about where the command line names none."""
    if named := os.environ.get("XENMEM_INVENTORY"):
        return [named]
    found = settings.get("inventory", [])
    return [os.path.expanduser(str(one)) for one in (found if isinstance(found, list) else [found])]  # noqa: PTH111


class Asked(click.Command):
    """A command that takes from elsewhere what its command line leaves open."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """As click does, with the defaults of the configuration file."""
        extra["default_map"] = self._defaults(config(), info_name or "")
        return super().make_context(info_name, args, parent, **extra)

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """As click does, with the default inventory where an argument lacks."""
        if context.resilient_parsing and args and args[-1].startswith("-"):
            args = args[:-1]  # an option that a shell completes the value of: with it click would understand nothing
        arguments = [parameter for parameter in self.params if isinstance(parameter, click.Argument)]
        if arguments and str(arguments[0].name).startswith("inventor"):
            found: dict[str, Any] = {}
            with suppress(click.UsageError):  # which comes again below
                found, _, _ = self.make_parser(context).parse_args(list(args))
            last, first = (found.get(arguments[place].name or "") for place in (-1, 0))
            completing = context.resilient_parsing and isinstance(first, str) and os.path.isfile(first)  # noqa: PTH113
            if (not isinstance(last, (str, tuple)) or last == ()) and not completing:
                defaults = default_inventories(config())
                args = [*(defaults if arguments[0].nargs == -1 else defaults[:1]), *args]
        context.meta[GIVEN] = list(args)
        return super().parse_args(context, args)

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does, with what concerns pools that run apart."""
        options = [one for one in self.get_params(context) if isinstance(one, click.Option)]
        for title, is_apart in (("Options", False), ("Options for pools that run", True)):
            records = (one.get_help_record(context) for one in options if isinstance(one, AccessOption) is is_apart)
            if rows := [record for record in records if record is not None]:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def _defaults(self, settings: dict[str, Any], name: str) -> dict[str, Any]:
        """What the file says of this command's options, by the names of parameters."""
        spelt = {
            spelling.removeprefix("--"): parameter
            for parameter in self.params
            for spelling in parameter.opts
            if spelling.startswith("--")
        }
        own = settings.get(name, {})
        if not isinstance(own, dict):
            raise click.ClickException(f"{config_path()}: {name}: is not a table of options")
        for key in own:
            if key not in spelt:
                raise click.ClickException(f"{config_path()}: [{name}] {key}: there is no option --{key}")
        common = {key: value for key, value in settings.items() if key in ("all", "color", "wide") and key in spelt}
        return {
            spelt[key].name or "": value if isinstance(value, (bool, list)) else str(value)
            for key, value in {**common, **own}.items()
        }
