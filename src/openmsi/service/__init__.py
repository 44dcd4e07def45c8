"""Install and run the agent as a service: systemd, launchd, Windows."""
