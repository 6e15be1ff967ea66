"""The settings of components: how they register, what their values may be, and what they share."""
