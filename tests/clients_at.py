"""Where tests/clients/install.sh has installed the clients, and how tests run them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

CLIENTS = Path(os.environ.get("XENMEM_CLIENTS", Path(__file__).resolve().parents[1] / "build" / "clients"))

Run = Callable[..., str]
Node = Callable[..., dict[str, Any]]
