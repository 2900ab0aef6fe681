"""Files captured elsewhere, which may stand beside the checkout: tests try them where they are, and need none."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data"
