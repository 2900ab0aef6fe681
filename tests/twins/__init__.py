"""Twins: what xenmem does, done again naively, by enumeration or by a solver; none imports what it checks."""
