"""Coverage-guided fuzzing of the reader with the conversion behind it, and of the pattern parser
(`make fuzz`).

What a run finds it puts into `found`, made small; `tests/test_fuzz_found.py` replays those without
a fuzzer.
"""
