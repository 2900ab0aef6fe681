"""A message under way: how messages are declared, what a body is given, and the tasks of those that run beside."""
