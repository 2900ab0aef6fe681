"""What a pool in memory is surrounded by: time, guests, events, and the hooks for what it does not model."""
