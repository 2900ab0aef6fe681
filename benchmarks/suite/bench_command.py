"""The command xenmem: how long does a whole process take, from the shell's point of view?"""

import subprocess
import sys

from . import fleets

EXAMPLE = str(fleets.ROOT / "examples" / "pool.xml.gz")


class Start:
    """How much of the time of a small report is Python's own start?"""

    params = (["nothing", "--version", "report", "report --format json", "info"],)
    param_names = ("command",)

    def setup(self, command: str) -> None:
        if command == "nothing":
            self.arguments = [sys.executable, "-c", ""]
        else:
            inventory = [EXAMPLE] if "report" in command else []
            self.arguments = [fleets.COMMAND, *command.split(), *inventory]

    def time_process(self, command: str) -> None:
        subprocess.run(self.arguments, check=True, stdout=subprocess.DEVNULL)
