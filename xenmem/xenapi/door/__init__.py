"""How messages come in: a session in this process, the wire formats, batches; and the pool that admits them."""
