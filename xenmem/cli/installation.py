"""The commands about the installation itself: what it is, and what it compiles ahead of time. No inventory is read."""

from xenmem.cli.arguments import command, format_option, reported
from xenmem.cli.streams import Compilation


@command("Version, models, backends, SIMD level, threads, CPU.")
@format_option("table", "json")
def info(form: str) -> bytes:
    """Version, models, backends, SIMD level, threads, CPU."""
    from xenmem import answers
    from xenmem.cli import values

    with reported(ValueError):
        result = answers.info()
    if form == "json":
        return values.to_json(result)
    from xenmem.cli import installation_tables

    return installation_tables.installation(result)


@command("Compile all searches ahead of time.", "warm-up")
@format_option("table", "json")
def warm_up(form: str) -> bytes:
    """Compile all searches ahead of time, so that no question has to wait for it.

    What is compiled is kept on disk: in the folder of the package, or else of the user, or in that which the variable
    NUMBA_CACHE_DIR names.
    """
    from xenmem import answers
    from xenmem.cli import values

    with reported(), Compilation() as compilation:
        result = answers.warm_up(compilation)
    if form == "json":
        return values.to_json(result)
    from xenmem.cli import installation_tables

    return installation_tables.compilation(result)
