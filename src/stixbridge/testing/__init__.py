"""Contract suites for sources and sinks, to run with pytest.

Whoever writes a source or a sink subclasses the suite and gives it a double of the server:

    from stixbridge.testing import Feed, SourceContract

    class TestAcme(SourceContract):
        @pytest.fixture
        def feed(self, tmp_path):
            with AcmeFeed(tmp_path) as feed:
                yield feed

pytest is needed for it and is not a dependency of stixbridge.
"""

from stixbridge.testing.sinks import SinkContract, Target
from stixbridge.testing.sources import Feed, SourceContract

__all__ = ["Feed", "SinkContract", "SourceContract", "Target"]
