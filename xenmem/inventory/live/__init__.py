"""Pools that run, as inventories: addresses, passwords, certificates, and the few messages that reading sends.

The only place below the doors that opens a connection. It asks nobody by itself: whoever has a terminal lends it
(`Access.ask`, `Access.confirm`).
"""
