"""xapi's rules as small functions over scalars and columns, which Fleet and database both ask; none knows either."""
