"""xapi's rules as small pure functions, over scalars and columns alike, each with its file and function of xapi."""
