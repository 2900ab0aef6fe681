"""xapi's checks and effects over the rows of a database, for every message that needs them."""
