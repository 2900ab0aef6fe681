"""All compiled code of planning, and nothing else: arrays in, arrays out, nothing is checked.

Python that numba compiles and that csrc/translate.py translates into C: what the latter says it understands.
"""
