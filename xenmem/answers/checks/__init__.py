"""The rules of advice, by what they are about; each is declared once, as data, and registers itself in `rule`."""
