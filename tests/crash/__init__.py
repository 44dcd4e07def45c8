"""Kills, cuts, fills and shares: what a user may do to openmsi without losing a file."""
