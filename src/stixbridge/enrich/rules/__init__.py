"""Rules: read by `loader`, applied by `engine`; conditions, variables and actions."""
