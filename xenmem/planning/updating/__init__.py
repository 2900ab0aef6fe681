"""Rolling pool updates: which host is restarted when, and where its VMs wait meanwhile."""
