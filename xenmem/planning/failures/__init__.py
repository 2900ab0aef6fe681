"""What a pool survives: host failures together and one by one, what would make it survive more, and room for VMs."""
