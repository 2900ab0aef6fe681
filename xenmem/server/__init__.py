"""A pool in memory on the network: HTTP, TLS and events for clients that cannot tell it from a pool.

Knows sockets, and of the pool only its door. What clients ask is decided in xenmem.xenapi.
"""
