"""The command xenmem: how long does a whole process take, from the shell's point of view?"""

import subprocess
import sys
from pathlib import Path

from . import ROOT

COMMAND = str(Path(sys.executable).with_name("xenmem"))
EXAMPLE = str(ROOT / "examples" / "pool.xml.gz")


class Start:
    """How much of the time of a small report is Python's own start (`nothing`)?"""

    params = (["nothing", "--version", "report", "report --format json", "info"],)
    param_names = ("command",)

    def setup(self, command: str) -> None:
        inventory = [EXAMPLE] if "report" in command else []
        self.arguments = [COMMAND, *command.split(), *inventory]
        if command == "nothing":
            self.arguments = [sys.executable, "-c", ""]

    def time_process(self, command: str) -> None:
        subprocess.run(self.arguments, check=True, stdout=subprocess.DEVNULL)
