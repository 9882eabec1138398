"""The `auspex` command, a module a subject. Entry points: they read the settings."""
