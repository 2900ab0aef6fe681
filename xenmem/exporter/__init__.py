"""Metrics of fleets for Prometheus: accounted memory, what fits, and what pools survive, over HTTP or in a file."""
