"""The asv suite: one module for each room of the house, one class for each question; data from fixed seeds."""
