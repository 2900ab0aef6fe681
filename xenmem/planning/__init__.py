"""Planning: where VMs go, which hosts can be emptied, what a pool survives; from a Fleet to plans, changing nothing.

Amounts are bytes. `planning.xapi` answers exactly as the pool itself would.
"""
