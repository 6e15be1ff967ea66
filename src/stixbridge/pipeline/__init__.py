"""One pipeline, from its source to its sinks. Start with `pipeline`."""
