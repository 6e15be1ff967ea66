"""The soak: rounds of runs against every server, with faults at random, for as long as is asked."""
