"""The life of a daemon around any handler: options, listeners, rules, limits, reload, the manager."""
