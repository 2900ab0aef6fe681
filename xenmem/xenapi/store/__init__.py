"""The database of a pool: rows, what follows from a change of them, and how they come from files and go into them."""
