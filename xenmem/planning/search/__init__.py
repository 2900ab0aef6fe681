"""Where VMs go, in which order, and what is proved about it: packing, evacuation, consolidation, rebalancing."""
