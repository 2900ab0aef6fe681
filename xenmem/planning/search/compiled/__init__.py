"""All code of planning that numba compiles, and nothing else: arrays in, arrays out, nothing is checked."""
