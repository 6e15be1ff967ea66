"""A plugin of pytest: CPU seconds by suite, and of the whole run with the servers it started."""

import resource
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

_PROPERTY = "cpu"
LIMIT = 480
"""CPU seconds that `make test` may take in all (docs: CONTRIBUTING.md)."""


def own_seconds() -> float:
    """User and system time of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def childrens_seconds() -> float:
    """User and system time of the children that this process has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def cpu_seconds() -> float:
    """User and system time of this process and of the children it has waited for."""
    return own_seconds() + childrens_seconds()


class CpuTimes:
    """Adds up what each test took, in this process or in the workers of xdist."""

    def __init__(self) -> None:
        self._suites: Counter[str] = Counter()
        self._tests: Counter[str] = Counter()
        self._workers = 0.0

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        item.stash[_STARTED] = cpu_seconds()
        yield

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        outcome: Any = yield
        report = outcome.get_result()
        if report.when == "teardown":
            report.user_properties.append((_PROPERTY, cpu_seconds() - item.stash[_STARTED]))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        suite = report.nodeid.partition("::")[0].rpartition("/")[0].removeprefix("tests/")
        for name, value in report.user_properties:
            if name == _PROPERTY and report.when == "teardown":
                self._tests[suite] += 1
                self._suites[suite] += value

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[_PROPERTY] = cpu_seconds()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self._workers += getattr(node, "workeroutput", {}).get(_PROPERTY, 0.0)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.section("CPU seconds by suite")
        for suite, seconds in self._suites.most_common():
            terminalreporter.line(f"{seconds:8.1f}  {suite} ({self._tests[suite]:,} tests)")
        # the workers are children, too, but not waited for in every case
        total = own_seconds() + max(childrens_seconds(), self._workers)
        note = f", over the {LIMIT} s that make test may take" if total > LIMIT else ""
        terminalreporter.line(f"{total:8.1f}  in all, with collection and servers{note}")


_STARTED = pytest.StashKey[float]()


def pytest_configure(config: pytest.Config) -> None:
    """Count in the controller and in each worker."""
    config.pluginmanager.register(CpuTimes())
